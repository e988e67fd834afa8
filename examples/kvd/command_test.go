package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"
)

// forStores runs a test on each store.
func forStores(t *testing.T, test func(t *testing.T, s *server)) {
	for _, name := range []string{"slubd", "heap", "syncmap"} {
		t.Run(name, func(t *testing.T) { test(t, newTestServer(t, options{store: name})) })
	}
}

// newTestServer makes a server that listens nowhere, and closes its store when the test is over.
func newTestServer(t testing.TB, o options) *server {
	t.Helper()
	if o.maxRequest == 0 {
		o.maxRequest = 1 << 20
	}
	if o.maxClients == 0 {
		o.maxClients = 1000
	}
	st, err := newStore(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.close(); err != nil {
			t.Error(err)
		}
	})
	return newServer(st, o, slog.New(slog.NewTextHandler(io.Discard, nil)))
}

// newTestClient makes a client without a connection, whose time stands still.
func newTestClient(s *server) *client { return &client{server: s, now: unixMilli()} }

// do runs a request of words and returns its reply, with spaces for ends of lines. "" stands for an
// empty argument.
func (c *client) do(request string) string {
	var args [][]byte
	for _, word := range strings.Fields(request) {
		args = append(args, []byte(strings.Trim(word, `"`)))
	}
	c.out = c.out[:0]
	c.run(args)
	return strings.TrimSpace(strings.ReplaceAll(string(c.out), "\r\n", " "))
}

// TestCommands runs requests one after the other. A number of milliseconds in place of a request
// lets time pass.
func TestCommands(t *testing.T) {
	steps := []struct {
		request any
		want    string
	}{
		{"GET a", "$-1"},
		{"SET a 1", "+OK"},
		{"get a", "$1 1"},
		{`SET e ""`, "+OK"},
		{"GET e", "$0"},
		{"EXISTS a e none a", ":3"},
		{"DBSIZE", ":2"},
		{"DEL a e none", ":2"},
		{"DEL a", ":0"},

		{"SET a 1 XX", "$-1"},
		{"GET a", "$-1"},
		{"SET a 1 NX", "+OK"},
		{"SET a 2 nx", "$-1"},
		{"SET a 3 xx", "+OK"},
		{"SET a 4 GET", "$1 3"},
		{"SET b 1 GET", "$-1"},
		{"SET a 5 NX GET", "$1 4"},
		{"GET a", "$1 4"},
		{"SET a 1 NX XX", "-" + syntaxError},
		{"SET a 1 what", "-" + syntaxError},
		{"SET a 1 EX", "-" + syntaxError},
		{"SET a 1 EX 5 PX 5", "-" + syntaxError},
		{"SET a 1 EX 5 KEEPTTL", "-" + syntaxError},
		{"SET a 1 EX 0", "-ERR invalid expire time in 'set' command"},
		{"SET a 1 EX x", "-ERR invalid expire time in 'set' command"},
		{"SET a 1 EX 9223372036854775807", "-ERR invalid expire time in 'set' command"},
		{"SET a 1 PX 9223372036854775807", "-ERR invalid expire time in 'set' command"},

		{"SET a 1 EX 10", "+OK"},
		{"TTL a", ":10"},
		{"PTTL a", ":10000"},
		{4000, ""},
		{"TTL a", ":6"},
		{"SET a 2 KEEPTTL", "+OK"},
		{"INCR a", ":3"},
		{"TTL a", ":6"},
		{6000, ""},
		{"GET a", "$-1"},
		{"TTL a", ":-2"},
		{"SET a 1 PX 100", "+OK"},
		{"SET a 1", "+OK"},
		{"TTL a", ":-1"},
		{"SET a 1 PXAT 1", "+OK"},
		{"GET a", "$-1"},
		{"EXPIRE a 5", ":0"},
		{"SET a 1", "+OK"},
		{"EXPIRE a 5", ":1"},
		{"PERSIST a", ":1"},
		{"PERSIST a", ":0"},
		{"PERSIST none", ":0"},
		{"PEXPIRE a 5", ":1"},
		{5, ""},
		{"SET a 2 XX", "$-1"},
		{"EXISTS a", ":0"},
		{"DEL a", ":0"},
		{"SET a 1", "+OK"},
		{"EXPIRE a -1", ":1"},
		{"EXPIRE a 0", ":0"},
		{"EXPIRE a x", "-ERR value is not an integer or invalid expire time"},
		{"EXPIRE a +5", "-ERR value is not an integer or invalid expire time"},

		{"SET a 1", "+OK"},
		{"EXPIRE a 9 XX", ":0"},
		{"EXPIRE a 9 GT", ":0"},
		{"TTL a", ":-1"},
		{"EXPIRE a 9 LT", ":1"},
		{"EXPIRE a 5 NX", ":0"},
		{"EXPIRE a 5 GT", ":0"},
		{"EXPIRE a 9 GT", ":0"},
		{"EXPIRE a 9 LT", ":0"},
		{"TTL a", ":9"},
		{"EXPIRE a 10 XX gt", ":1"},
		{"PEXPIRE a 7000 XX LT", ":1"},
		{"TTL a", ":7"},
		{"EXPIRE a -1 NX", ":0"},
		{"EXPIRE a -1 GT", ":0"},
		{"TTL a", ":7"},
		{"EXPIRE a -1 LT", ":1"},
		{"EXISTS a", ":0"},
		{"EXPIRE a 5 NX", ":0"},
		{"EXPIRE a 5 NX XX", "-ERR NX and XX, GT or LT options at the same time are not compatible"},
		{"EXPIRE a 5 GT LT", "-ERR GT and LT options at the same time are not compatible"},
		{"EXPIRE a 5 YY", "-ERR Unsupported option YY"},

		{"INCR n", ":1"},
		{"INCRBY n 41", ":42"},
		{"DECR n", ":41"},
		{"DECRBY n 50", ":-9"},
		{"GET n", "$2 -9"},
		{"SET n 9223372036854775807", "+OK"},
		{"INCR n", "-ERR increment or decrement would overflow"},
		{"INCRBY n x", "-" + notInteger},
		{"DECRBY n -9223372036854775808", "-ERR decrement would overflow"},
		{"INCRBY n +1", "-" + notInteger},
		{"DECRBY n 01", "-" + notInteger},
		{"SET n 007", "+OK"},
		{"INCR n", "-" + notInteger},
		{"SET n -0", "+OK"},
		{"INCR n", "-" + notInteger},
		{"SET n -9223372036854775808", "+OK"},
		{"INCR n", ":-9223372036854775807"},
		{"SET n x", "+OK"},
		{"INCR n", "-" + notInteger},
		{"GET n", "$1 x"},

		{"MSET x 1 y 2", "+OK"},
		{"MGET x none y", "*3 $1 1 $-1 $1 2"},
		{"MSET x 1 y", "-ERR wrong number of arguments for 'mset' command"},
		{"FLUSHALL later", "-" + syntaxError},
		{"FLUSHALL", "+OK"},
		{"DBSIZE", ":0"},

		{"PING", "+PONG"},
		{"PING hello", "$5 hello"},
		{"PING a b", "-ERR wrong number of arguments for 'ping' command"},
		{"ECHO hello", "$5 hello"},
		{"SET a", "-ERR wrong number of arguments for 'set' command"},
		{"GET a b", "-ERR wrong number of arguments for 'get' command"},
		{"NONSENSE a", "-ERR unknown command 'NONSENSE'"},
		{strings.Repeat("x", 200), "-ERR unknown command '" + strings.Repeat("x", 128) + "'"},
		{"SCAN x", "-ERR invalid cursor"},
		{"SCAN 0 COUNT 0", "-" + syntaxError},
		{"SCAN 0 COUNT x", "-" + notInteger},
		{"SCAN 0 COUNT +5", "-" + notInteger},
		{"SCAN 0 COUNT", "-" + syntaxError},
		{"SCAN 0 MATCH " + strings.Repeat("x", maxPattern+1), "-ERR pattern is too long"},
		{"SCAN 0 TYPE string", "-" + syntaxError},
		{"MEMORY USAGE none", "$-1"},
		{"MEMORY DOCTOR", "-ERR unknown subcommand or wrong number of arguments for 'memory'"},
		{"CONFIG GET maxm*", "*2 $9 maxmemory $1 0"},
		{"CONFIG SET maxmemory x", `-ERR CONFIG SET failed - "x" is no number of bytes`},
		{"CONFIG SET maxmemory \xff", `-ERR CONFIG SET failed - "\xff" is no number of bytes`},
		{"CONFIG SET other 1", "-ERR Unknown option or number of arguments for CONFIG SET"},
		{"CONFIG RESETSTAT", "-ERR unknown subcommand or wrong number of arguments for 'config'"},
		{"COMMAND COUNT", fmt.Sprint(":", len(commands))},
		{"COMMAND DOCS", "*0"},
		{"QUIT", "+OK"},
	}
	forStores(t, func(t *testing.T, s *server) {
		c := newTestClient(s)
		for _, step := range steps {
			switch request := step.request.(type) {
			case int:
				c.now += int64(request)
			case string:
				if got := c.do(request); got != step.want {
					t.Errorf("%s: %q, not %q", request, got, step.want)
				}
			}
		}
		if !c.done {
			t.Error("QUIT has not ended the connection")
		}
	})
}

func TestScanCommand(t *testing.T) {
	forStores(t, func(t *testing.T, s *server) {
		c := newTestClient(s)
		for i := range 500 {
			c.do(fmt.Sprintf("SET key:%d v", i))
		}
		c.do("SET other v")
		c.do("SET key:gone v PX 1")
		c.now++
		seen := map[string]int{}
		for cursor := "0"; ; {
			reply := strings.Fields(c.do("SCAN " + cursor + " MATCH key:* COUNT 20"))
			cursor = reply[2]
			for i := 5; i < len(reply); i += 2 {
				seen[reply[i]]++
			}
			if cursor == "0" {
				break
			}
		}
		for key, n := range seen {
			if n != 1 || !strings.HasPrefix(key, "key:") {
				t.Errorf("%s is shown %d times", key, n)
			}
		}
		if len(seen) != 500 {
			t.Errorf("%d keys of 500", len(seen))
		}
	})
}

func TestInfoAndMemory(t *testing.T) {
	forStores(t, func(t *testing.T, s *server) {
		c := newTestClient(s)
		c.do("SET a 1234567890")
		c.do("GET a")
		c.do("GET none")
		for _, want := range []string{"kvd_store:" + s.storeName, "keyspace_hits:1", "keyspace_misses:1", "db0:keys=1"} {
			if got := c.do("INFO"); !strings.Contains(got, want) {
				t.Errorf("INFO without %s: %s", want, got)
			}
		}
		if got := c.do("INFO memory"); !strings.Contains(got, "used_memory:") || strings.Contains(got, "Server") {
			t.Errorf("INFO memory: %s", got)
		}
		var n int
		if _, err := fmt.Sscanf(c.do("MEMORY USAGE a"), ":%d", &n); err != nil || n < 11 || n > 200 {
			t.Errorf("MEMORY USAGE: %d, %v", n, err)
		}
		if got := c.do("MEMORY STATS"); !strings.Contains(got, "keys.count :1") {
			t.Errorf("MEMORY STATS: %s", got)
		}
		if got := c.do("COMMAND"); !strings.HasPrefix(got, fmt.Sprintf("*%d *6 $3 get :2 *1 +readonly :1 :1 :1", len(commands))) {
			t.Errorf("COMMAND: %.100s", got)
		}
	})
}

// TestActiveExpiry waits for nothing: what has expired is freed though nothing asks for it.
func TestActiveExpiry(t *testing.T) {
	forStores(t, func(t *testing.T, s *server) {
		c := newTestClient(s)
		c.now -= 1000
		for i := range 3000 {
			c.do(fmt.Sprintf("SET gone:%d v PX 1", i))
			c.do(fmt.Sprintf("SET stays:%d v", i%1000))
		}
		for range 100_000 {
			if s.store.len() == 1000 {
				break
			}
			s.expireSome(time.Now().Add(time.Minute))
		}
		if n := s.store.len(); n != 1000 || s.expired.Load() != 3000 {
			t.Errorf("%d keys are left, %d have expired", n, s.expired.Load())
		}
	})
}

// TestLongRepliesAreSentInPieces asks for many large values by one request: the replies that are
// not sent yet must not take more memory than some of them.
func TestLongRepliesAreSentInPieces(t *testing.T) {
	const keys, size = 200, 20_000
	here, there := net.Pipe()
	received := make(chan int64)
	go func() {
		n, _ := io.Copy(io.Discard, there)
		received <- n
	}()
	c := newTestClient(newTestServer(t, options{store: "slubd"}))
	c.conn = here
	c.do("SET k " + strings.Repeat("v", size))
	c.out = nil
	c.run(bytes.Fields([]byte("MGET" + strings.Repeat(" k", keys))))
	if cap(c.out) > keepOut {
		t.Errorf("replies of %d bytes are waiting", cap(c.out))
	}
	if err := errors.Join(c.broken, c.send(), here.Close()); err != nil {
		t.Error(err)
	}
	if n := <-received; n < keys*size {
		t.Errorf("%d bytes were received", n)
	}
}

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, key string
		want         bool
	}{
		{"", "", true}, {"", "a", false}, {"*", "", true}, {"*", "abc", true}, {"a*c", "abbc", true},
		{"a*c", "abcd", false}, {"?", "", false}, {"a?c", "abc", true}, {"[ab]c", "bc", true},
		{"[^ab]c", "bc", false}, {"[^ab]c", "xc", true}, {"[a-c]", "b", true}, {"[c-a]", "b", true},
		{"[a-c]", "d", false}, {`\*`, "*", true}, {`\*`, "a", false}, {`[\]]`, "]", true},
		{"[a", "a", true}, {"[", "a", false}, {`\`, `\`, true}, {"*a*b*c", "xaxbxbc", true},
		{"a**b", "ab", true}, {"*?", "", false},
	} {
		if newMatcher([]byte(c.pattern)).match([]byte(c.key)) != c.want {
			t.Errorf("%q matches %q: %v", c.pattern, c.key, !c.want)
		}
	}
}

// FuzzCommands runs any requests on any store. Each must get exactly one reply, and the slubd and
// the heap store the same.
func FuzzCommands(f *testing.F) {
	for _, s := range []string{"set a 1 ex 10\nget a\nincr a\nttl a", "mset a 1 b 2\nmget a b\ndel a\nscan 0 count 5",
		"set a x get\nincrby a 5\npersist a\nexpire a -1\nexists a", "memory usage a\nconfig get *\nconfig set maxmemory 10mb"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, program string) {
		a, b := newTestClient(newTestServer(t, options{store: "slubd"})), newTestClient(newTestServer(t, options{store: "heap"}))
		b.now = a.now
		for line := range strings.Lines(program) {
			if len(strings.Fields(line)) == 0 {
				continue
			}
			one, other := a.do(line), b.do(line)
			if rest, ok := skipReply(a.out); !ok || len(rest) != 0 {
				t.Fatalf("%q: %q is not one reply", line, a.out)
			}
			switch strings.ToLower(strings.Fields(line)[0]) {
			case "memory", "config", "info", "scan":
			default:
				if one != other {
					t.Fatalf("%q: %q on slubd, %q on the heap", line, one, other)
				}
			}
		}
	})
}
