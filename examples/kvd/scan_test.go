package main

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// scanOnce returns the cursor and the keys of one SCAN.
func scanOnce(t *testing.T, c *client, request string) (cursor string, keys []string) {
	t.Helper()
	reply := strings.Fields(c.do(request))
	if len(reply) < 4 || reply[0] != "*2" {
		t.Fatalf("%.50s: %.100q", request, reply)
	}
	for i := 5; i < len(reply); i += 2 {
		keys = append(keys, reply[i])
	}
	return reply[2], keys
}

// TestScanIsBounded asks for everything at once, where keys are long or the pattern is slow to
// match. Each call must stop early, and all calls together must show every key once.
func TestScanIsBounded(t *testing.T) {
	for _, test := range []struct {
		name           string
		keys, length   int
		pattern        string
		most           int // keys of one call
		mostKeys       int // bytes of the keys of one call
		matched, calls int // of all; calls at least
	}{
		{"long keys", 500, 10_000, "", maxKeys/10_000 + scanBatch, maxKeys + scanBatch*10_100, 500, 3},
		{"slow pattern", 1000, 100, strings.Repeat("*k", 500), maxMatch/100_000 + scanBatch, maxKeys, 0, 10},
		{"many keys", 12_000, 10, "", maxCount + scanBatch, maxKeys, 12_000, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newTestServer(t, options{store: "slubd"})
			c := newTestClient(s)
			for i := range test.keys {
				c.do(fmt.Sprintf("SET %0*d v", test.length, i))
			}
			request := " COUNT 1000000000"
			if test.pattern != "" {
				request += " MATCH " + test.pattern
			}
			seen, calls := map[string]bool{}, 0
			for cursor := "0"; ; {
				calls++
				var keys []string
				cursor, keys = scanOnce(t, c, "SCAN "+cursor+request)
				bytes := 0
				for _, key := range keys {
					bytes += len(key)
					if seen[key] {
						t.Fatalf("a key is shown twice: %.50s", key)
					}
					seen[key] = true
				}
				if len(keys) > test.most || bytes > test.mostKeys {
					t.Errorf("one call shows %d keys of %d bytes", len(keys), bytes)
				}
				if cursor == "0" {
					break
				}
			}
			if len(seen) != test.matched || calls < test.calls {
				t.Errorf("%d keys in %d calls, want %d in at least %d", len(seen), calls, test.matched, test.calls)
			}
		})
	}
}

func TestInteger(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "7": 7, "-7": -7, "10": 10, "9223372036854775807": 1<<63 - 1, "-9223372036854775808": -1 << 63} {
		if n, ok := integer([]byte(text)); !ok || n != want {
			t.Errorf("%q is %d, %v", text, n, ok)
		}
	}
	for _, text := range []string{"", "-", "+5", "007", "00", "-0", "-01", " 5", "5 ", "1e3", "0x5", "1_000", "--5", "9223372036854775808", "-9223372036854775809"} {
		if n, ok := integer([]byte(text)); ok {
			t.Errorf("%q is %d", text, n)
		}
	}
	for n := int64(-1100); n < 1100; n++ {
		if got, ok := integer(strconv.AppendInt(nil, n, 10)); !ok || got != n {
			t.Errorf("%d is %d, %v", n, got, ok)
		}
	}
}
