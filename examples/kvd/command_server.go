package main

import (
	"fmt"
	"runtime/metrics"
	"strconv"
	"strings"
	"time"

	"github.com/slubd/slubd/slub"
)

// The commands in this file are about the server.

// info is INFO [section].
func info(c *client, args [][]byte) {
	var text strings.Builder
	for _, s := range infoSections {
		if len(args) == 1 || is(args[1], s.name) || is(args[1], "all") || is(args[1], "default") ||
			is(args[1], "everything") {
			fmt.Fprintf(&text, "# %s\r\n", s.name)
			s.write(func(name string, value any) { fmt.Fprintf(&text, "%s:%v\r\n", name, value) }, c.server)
			text.WriteString("\r\n")
		}
	}
	c.text(text.String())
}

var infoSections = []struct {
	name  string
	write func(line func(name string, value any), s *server)
}{
	{"Server", func(line func(string, any), s *server) {
		engine, _ := slub.Engine()
		line("server_name", "kvd")
		line("redis_version", "7.0.0") // of the commands that there are
		line("kvd_store", s.storeName)
		line("slubd_engine", engine)
		line("uptime_in_seconds", int64(time.Since(s.started).Seconds()))
	}},
	{"Clients", func(line func(string, any), s *server) {
		line("connected_clients", s.connected())
		line("maxclients", s.maxClients)
	}},
	{"Memory", func(line func(string, any), s *server) {
		m := s.store.memory()
		heap := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/gc/cycles/total:gc-cycles"}}
		metrics.Read(heap) // unlike runtime.ReadMemStats this stops nothing
		line("used_memory", m.used)
		line("used_memory_dataset", m.data)
		line("used_memory_waiting", m.waiting)
		line("used_memory_rss", resident())
		line("maxmemory", m.limit)
		line("go_heap", heap[0].Value.Uint64())
		line("go_gc_cycles", heap[1].Value.Uint64())
	}},
	{"Stats", func(line func(string, any), s *server) {
		calls := uint64(0)
		for i := range s.calls {
			calls += s.calls[i].Load()
		}
		line("total_commands_processed", calls)
		line("keyspace_hits", s.hits.Load())
		line("keyspace_misses", s.misses.Load())
		line("expired_keys", s.expired.Load())
		line("evicted_keys", s.store.memory().evicted)
		line("rejected_connections", s.refused.Load())
		line("protocol_errors", s.protocolErrors.Load())
	}},
	{"Keyspace", func(line func(string, any), s *server) {
		if n := s.store.len(); n > 0 {
			line("db0", fmt.Sprintf("keys=%d", n))
		}
	}},
}

// memoryCommand is MEMORY USAGE key and MEMORY STATS.
func memoryCommand(c *client, args [][]byte) {
	switch {
	case is(args[1], "usage") && (len(args) == 3 || len(args) == 5 && is(args[3], "samples")):
		if n, found := c.server.store.size(args[2], c.now); found {
			c.int(int64(n))
		} else {
			c.null()
		}
	case is(args[1], "stats") && len(args) == 2:
		m, n := c.server.store.memory(), int64(c.server.store.len())
		figures := []struct {
			name  string
			value int64
		}{
			{"total.allocated", m.used},
			{"dataset.bytes", m.data},
			{"waiting.bytes", m.waiting},
			{"overhead.total", m.used - m.data},
			{"keys.count", n},
			{"keys.bytes-per-key", m.data / max(1, n)},
			{"maxmemory", m.limit},
			{"resident.bytes", resident()},
		}
		c.array(2 * len(figures))
		for _, f := range figures {
			c.text(f.name)
			c.int(f.value)
		}
	default:
		c.fail("ERR unknown subcommand or wrong number of arguments for 'memory'")
	}
}

// config is CONFIG GET pattern and CONFIG SET maxmemory bytes. redis-benchmark asks for save and
// appendonly, to print them: there is nothing on disk.
func config(c *client, args [][]byte) {
	switch {
	case is(args[1], "get") && len(args) == 3:
		if len(args[2]) > maxPattern {
			c.fail(patternTooLong)
			return
		}
		pattern := newMatcher(args[2])
		settings := [][2]string{
			{"maxmemory", strconv.FormatInt(c.server.store.memory().limit, 10)},
			{"maxclients", strconv.Itoa(c.server.maxClients)},
			{"save", ""},
			{"appendonly", "no"},
		}
		n := 0
		for _, s := range settings {
			if pattern.match([]byte(s[0])) {
				settings[n] = s
				n++
			}
		}
		c.array(2 * n)
		for _, s := range settings[:n] {
			c.text(s[0])
			c.text(s[1])
		}
	case is(args[1], "set") && len(args) == 4 && is(args[2], "maxmemory"):
		n, err := bytesFrom(string(args[3]))
		if err == nil {
			err = c.server.store.setLimit(n)
		}
		if err != nil {
			c.fail("ERR CONFIG SET failed - " + err.Error())
			return
		}
		c.ok()
	case is(args[1], "set") && len(args) == 4:
		c.fail("ERR Unknown option or number of arguments for CONFIG SET")
	default:
		c.fail("ERR unknown subcommand or wrong number of arguments for 'config'")
	}
}

// bytesFrom reads a number of bytes as Redis does, with a unit such as kb or mb: 100mb.
func bytesFrom(s string) (int64, error) {
	lower := strings.ToLower(s) // may be longer than s
	number := strings.TrimRight(lower, "bgkm")
	unit := int64(1)
	switch lower[len(number):] {
	case "", "b":
	case "k":
		unit = 1000
	case "kb":
		unit = 1 << 10
	case "m":
		unit = 1_000_000
	case "mb":
		unit = 1 << 20
	case "g":
		unit = 1_000_000_000
	case "gb":
		unit = 1 << 30
	default:
		return 0, fmt.Errorf("%q is no number of bytes", s)
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > 1<<62/unit {
		return 0, fmt.Errorf("%q is no number of bytes", s)
	}
	return n * unit, nil
}
