package main

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/slubd/slubd/internal/testutil"
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
		{"long keys", 500, 10_000, "", maxKeys/10_000 + 1, maxKeys + 10_100, 500, 3},
		{"slow pattern", 1000, 1000, strings.Repeat("*k", 500), maxMatch/9000 + 1, maxKeys, 0, 2},
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

// TestScanWorkIsBounded counts the steps of SCANs over the longest keys with patterns that match
// each of their bytes in many ways. A SCAN may go beyond its bound by one key.
func TestScanWorkIsBounded(t *testing.T) {
	const keys, length = 6, 1 << 20
	s := newTestServer(t, options{store: "slubd", maxRequest: 2 << 20})
	c := newTestClient(s)
	for i := range keys {
		c.do(fmt.Sprintf("SET %d%s v", i, strings.Repeat("a", length-1)))
	}
	for _, pattern := range []string{strings.Repeat("*a", maxPattern/2-1) + "b", "*" + strings.Repeat("a", maxPattern-2) + "b"} {
		m := newMatcher([]byte(pattern))
		if m.words > maxPattern/64+1 {
			t.Fatalf("%d words for %d bytes", m.words, len(pattern))
		}
		calls := 0
		for cursor := uint64(0); calls == 0 || cursor != 0; calls++ {
			m.steps = 0
			next, n, work := c.gather(cursor, maxCount, m)
			if most := maxMatch + (m.words+1)*length; n != 0 || work > most || work != 0 && work != m.steps+length {
				t.Errorf("%.9s: %d keys match, %d steps of work, at most %d", pattern, n, work, most)
			}
			cursor = next
		}
		if calls != keys && calls != keys+1 { // the last one may not know that it is the last
			t.Errorf("%.9s: %d calls for %d keys", pattern, calls, keys)
		}
	}
}

// plainMatch is what a matcher means, without a bound on its steps.
func plainMatch(pattern, key []byte) bool {
	switch {
	case len(pattern) == 0:
		return len(key) == 0
	case pattern[0] == '*':
		return plainMatch(pattern[1:], key) || len(key) > 0 && plainMatch(pattern, key[1:])
	case len(key) == 0:
		return false
	}
	n, ok := matchOne(pattern, key[0])
	return ok && plainMatch(pattern[n:], key[1:])
}

// TestMatcherIsPlain compares both for patterns of all lengths around those of words.
func TestMatcherIsPlain(t *testing.T) {
	rng := rand.New(rand.NewPCG(testutil.Seed(t), 0))
	matched := 0
	for i := range 20_000 {
		var key, pattern []byte
		for range rng.IntN(8) + i%2*60 {
			b := "ab"[rng.IntN(2)]
			key = append(key, b)
			switch e := []string{"a", "b", "?", "[ab]", "[^b]", "*", "", `\a`}[rng.IntN(8)]; {
			case i%2 == 1 && rng.IntN(30) > 0: // long ones would match nothing
				pattern = append(pattern, b)
			default:
				pattern = append(pattern, e...)
			}
		}
		got, want := newMatcher(pattern).match(key), plainMatch(pattern, key)
		if got != want {
			t.Fatalf("%q matches %q: %v", pattern, key, got)
		}
		if want {
			matched++
		}
	}
	if matched < 1000 {
		t.Errorf("%d of 20000 match", matched)
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
