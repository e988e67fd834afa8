package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/slubd/slubd/internal/testutil"
)

// TestManyClients has clients add to counters, and set, get, expire and delete keys whose values
// hold their names, over TCP. No addition is lost, no value is another key's or torn, and at the
// end nothing is left.
func TestManyClients(t *testing.T) {
	const clients, counters, keys = 8, 4, 200
	ops, seed := testutil.Stress(t, 800), testutil.Seed(t)
	d := start(t, options{})
	var working sync.WaitGroup
	for i := range clients {
		p := dial(t, d)
		working.Go(func() {
			random := rand.New(rand.NewPCG(seed, uint64(i)))
			for n := range ops {
				key := random.IntN(keys)
				value := strings.Repeat(fmt.Sprint(key, ";"), 1+random.IntN(300))
				switch random.IntN(8) {
				case 0:
					p.ask(t, fmt.Sprint("del key:", key))
				case 1:
					p.ask(t, fmt.Sprintf("set key:%d %s px %d", key, value, 1+random.IntN(20)))
				case 2, 3:
					p.ask(t, fmt.Sprintf("set key:%d %s", key, value))
				case 4:
					p.ask(t, fmt.Sprintf("pexpire key:%d %d", key, 1+random.IntN(20)))
				default:
					got := p.ask(t, fmt.Sprint("get key:", key))
					if got != "nil" && strings.Trim(got, fmt.Sprint(key, ";")) != "" {
						t.Errorf("key %d has the value %.40s", key, got)
					}
				}
				p.ask(t, fmt.Sprint("incr counter:", n%counters))
			}
		})
	}
	working.Wait()
	sum := 0
	last := dial(t, d)
	for i := range counters {
		n, err := strconv.Atoi(last.ask(t, fmt.Sprint("get counter:", i)))
		if err != nil {
			t.Error(err)
		}
		sum += n
	}
	if sum != clients*ops {
		t.Errorf("%d additions of %d", sum, clients*ops)
	}
	d.finish(t)
}

// TestClientsAtTheLimit does so beyond the limit, where keys come and go.
func TestClientsAtTheLimit(t *testing.T) {
	const clients, keys, limit = 6, 20_000, 3 << 20
	ops, seed := testutil.Stress(t, 1500), testutil.Seed(t)
	d := start(t, options{limit: limit})
	var working sync.WaitGroup
	for i := range clients {
		p := dial(t, d)
		working.Go(func() {
			random := rand.New(rand.NewPCG(seed, uint64(i)))
			for range ops {
				key := random.IntN(keys)
				if random.IntN(2) == 0 {
					value := strings.Repeat(fmt.Sprint(key, ";"), 1+random.IntN(400))
					if got := p.ask(t, fmt.Sprintf("set key:%d %s", key, value)); got != "+OK" {
						t.Errorf("set: %s", got)
					}
				} else if got := p.ask(t, fmt.Sprint("get key:", key)); got != "nil" && strings.Trim(got, fmt.Sprint(key, ";")) != "" {
					t.Errorf("key %d has the value %.40s", key, got)
				}
			}
		})
	}
	working.Wait()
	d.finish(t)
}

// TestTerminated sends the process SIGTERM while a client sends a pipeline. What has been answered
// is whole, and the daemon ends without an error and with nothing lost.
func TestTerminated(t *testing.T) {
	if !testutil.Child(t) {
		return
	}
	ctx, stopSignals := untilSignal()
	defer stopSignals()
	d := startWith(t, ctx, options{})
	p := dial(t, d)
	p.ask(t, "set a 1")
	go func() {
		for p.send("set b 2", "get b") == nil {
		}
	}()
	if got, err := p.reply(); got != "+OK" {
		t.Errorf("%s, %v", got, err)
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for {
		got, err := p.reply()
		if err != nil {
			break
		}
		if got != "2" && got != "+OK" {
			t.Errorf("%q", got)
		}
	}
	if out, err := d.result(); err != nil || !strings.Contains(out, "nothing leaked") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestRedisCLI drives the daemon with Redis's own client.
func TestRedisCLI(t *testing.T) {
	cli := testutil.Need(t, "redis-cli", "redis-tools")
	d := start(t, options{limit: 64 << 20})
	run := func(args ...string) string {
		host, port, _ := strings.Cut(d.redis, ":")
		out, err := exec.Command(cli, append([]string{"-h", host, "-p", port}, args...)...).CombinedOutput()
		if err != nil {
			t.Errorf("%q: %v", args, err)
		}
		return strings.ReplaceAll(strings.TrimSpace(string(out)), "\n", " ")
	}
	for _, c := range [][]string{
		{"OK", "set", "a", "hello world", "ex", "1000000000"},
		{"hello world", "get", "a"},
		{"1", "persist", "a"},
		{"OK", "mset", "n", "1", "m", "2"},
		{"42", "incrby", "n", "41"},
		{"42  2", "mget", "n", "none", "m"},
		{"3", "dbsize"},
		{"maxmemory 67108864", "config", "get", "maxmemory"},
		{"OK", "config", "set", "maxmemory", "32mb"},
		{"2", "exists", "a", "m"},
		{"1", "del", "a"},
		{"PONG", "ping"},
		{"OK", "flushall"},
		{"0", "dbsize"},
	} {
		if got := run(c[1:]...); got != c[0] {
			t.Errorf("%q: %q, not %q", c[1:], got, c[0])
		}
	}
	for i := range 100 {
		dial(t, d).ask(t, fmt.Sprintf("set scanned:%d v", i))
	}
	if keys := strings.Fields(run("--scan", "--pattern", "scanned:*")); len(keys) != 100 {
		t.Errorf("--scan shows %d keys of 100", len(keys))
	}
	if got := run("info", "memory"); !strings.Contains(got, "used_memory:") {
		t.Error(got)
	}
	d.finish(t)
}

// TestRedisBenchmark loads the daemon with Redis's own benchmark, with pipelining and beyond the
// limit. Any error in a reply ends the benchmark.
func TestRedisBenchmark(t *testing.T) {
	benchmark := testutil.Need(t, "redis-benchmark", "redis-tools")
	d := start(t, options{limit: 8 << 20})
	_, port, _ := strings.Cut(d.redis, ":")
	for _, args := range []string{
		"-t set,get,incr,mset,ping -n 4000 -c 20 -P 8 -r 10000 -d 100 --csv",
		"-t set,get -n 2000 -c 10 -r 10000 -d 3000 --csv",
	} {
		out, err := exec.Command(benchmark, append([]string{"-e", "-p", port}, strings.Fields(args)...)...).CombinedOutput()
		if err != nil || !strings.Contains(string(out), `"GET",`) || strings.Contains(string(out), "ERR") ||
			strings.Contains(string(out), "OOM") {
			t.Errorf("redis-benchmark %s: %v\n%s", args, err, out)
		}
	}
	d.finish(t)
}
