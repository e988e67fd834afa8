package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/slub"
)

// start runs the daemon on a loopback port until the test calls stop, which returns run's error.
func start(t *testing.T, buckets int, limit int64) (url string, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	addr, result := make(chan net.Addr, 1), make(chan error, 1)
	go func() {
		result <- run(ctx, "127.0.0.1:0", buckets, limit, time.Hour, func(a net.Addr) { addr <- a })
	}()
	select {
	case a := <-addr:
		return "http://" + a.String(), func() error { cancel(); return <-result }
	case err := <-result:
		if errors.Is(err, errors.ErrUnsupported) {
			t.Skip(err)
		}
		t.Fatal(err)
	}
	return "", nil
}

// do sends a request and returns status and body.
func do(t *testing.T, method, url string, body []byte) (int, string) {
	t.Helper()
	r, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Error(err)
	}
	return answer.StatusCode, string(text)
}

// metric reads one series of a /metrics page.
func metric(t *testing.T, page, series string) (value float64) {
	t.Helper()
	_, rest, found := strings.Cut(page, "\n"+series+" ")
	if _, err := fmt.Sscan(rest, &value); !found || err != nil {
		t.Errorf("no %s: %v", series, err)
	}
	return value
}

// TestDaemon puts, replaces, reads and deletes sessions, looks at the metrics, and checks that
// nothing is left at the end.
func TestDaemon(t *testing.T) {
	url, stop := start(t, 64, 0)
	if status, _ := do(t, "GET", url+"/session/none", nil); status != http.StatusNotFound {
		t.Errorf("a session that was never put: %d", status)
	}
	const clients, rounds = 4, 100
	var working sync.WaitGroup
	for c := range clients {
		working.Go(func() {
			own := fmt.Sprintf("%s/session/%d", url, c)
			for i := range rounds {
				value := strings.Repeat(string(rune('a'+i%26)), 1+i)
				if status, _ := do(t, "PUT", own, []byte(value)); status != http.StatusNoContent {
					t.Errorf("put: %d", status)
				}
				if status, got := do(t, "GET", own, nil); status != http.StatusOK || got != value {
					t.Errorf("put %q, got %d %q", value, status, got)
				}
			}
		})
	}
	working.Wait()
	if status, _ := do(t, "DELETE", url+"/session/0", nil); status != http.StatusNoContent {
		t.Errorf("delete: %d", status)
	}
	if status, _ := do(t, "GET", url+"/session/0", nil); status != http.StatusNotFound {
		t.Errorf("deleted session: %d", status)
	}

	_, page := do(t, "GET", url+"/metrics", nil)
	of := func(series string) float64 { return metric(t, page, "slubd_"+series) }
	const puts, live = clients * rounds, clients - 1
	if n := of(`cache_alloc_fastpath_total{cache="session"}`) + of(`cache_alloc_slowpath_total{cache="session"}`); n != puts {
		t.Errorf("%v objects allocated, not %d", n, puts)
	}
	if n := of(`cache_objects{cache="session",state="in_use"}`); n != live {
		t.Errorf("%v objects in use, not %d", n, live)
	}
	// Objects that no sheaf takes are counted when their grace period is over, so the count may
	// be short of the number of frees.
	if n := of(`cache_free_rcu_sheaf_total{cache="session"}`); n == 0 || n > puts-live {
		t.Errorf("%v of %d objects went through an rcu_free sheaf", n, puts-live)
	}
	if n := of(`cache_foreign_frees_total{cache="session"}`); n != 0 {
		t.Errorf("%v foreign frees", n)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	for c := range slub.Caches() {
		t.Errorf("cache %q is still open", c.Name())
	}
}

// TestTerminated sends SIGTERM during a request. The request must be answered and the daemon end
// without an error.
func TestTerminated(t *testing.T) {
	if !testutil.Child(t) {
		return
	}
	ctx, stop := untilSignal()
	defer stop()
	addr, result := make(chan net.Addr, 1), make(chan error, 1)
	go func() { result <- run(ctx, "127.0.0.1:0", 64, 0, time.Hour, func(a net.Addr) { addr <- a }) }()
	var at net.Addr
	select {
	case at = <-addr:
	case err := <-result:
		if errors.Is(err, errors.ErrUnsupported) {
			t.Skip(err)
		}
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "PUT /session/late HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
	answers := bufio.NewReader(c)
	if line, err := answers.ReadString('\n'); !strings.Contains(line, "100") { // the handler reads
		t.Fatalf("%q, %v", line, err)
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for c, err := net.Dial("tcp", at.String()); err == nil; c, err = net.Dial("tcp", at.String()) {
		c.Close() // the daemon has not seen the signal yet
		time.Sleep(time.Millisecond)
	}
	select {
	case err := <-result:
		t.Fatalf("ended during a request: %v", err)
	default:
	}
	fmt.Fprint(c, "value")
	answers.ReadString('\n') // the blank line that ends the interim answer
	if line, err := answers.ReadString('\n'); !strings.Contains(line, "204") {
		t.Errorf("%q, %v", line, err)
	}
	if err := <-result; err != nil {
		t.Error(err)
	}
}

func TestLimits(t *testing.T) {
	const limit = 1 << 20
	type request struct{ key, value string }
	url, stop := start(t, 1024, limit)
	for want, r := range map[int]request{
		http.StatusRequestURITooLong:     {key: strings.Repeat("k", maxKey+1), value: "v"},
		http.StatusRequestEntityTooLarge: {key: "k", value: strings.Repeat("v", maxValue+1)},
	} {
		if status, _ := do(t, "PUT", url+"/session/"+r.key, []byte(r.value)); status != want {
			t.Errorf("%d instead of %d", status, want)
		}
	}
	full := 0
	for i := range 2 * limit / 1024 {
		if full, _ = do(t, "PUT", fmt.Sprint(url, "/session/", i), []byte("v")); full != http.StatusNoContent {
			break
		}
	}
	if full != http.StatusInsufficientStorage {
		t.Errorf("at the limit: %d", full)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// TestReadersSeeWholeValues replaces sessions as fast as it can while readers look them up. Every
// value is one letter repeated; an object that was reused too early would show two letters.
func TestReadersSeeWholeValues(t *testing.T) {
	s, err := newStore(1, 0)
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	// More threads than CPUs, so that the kernel interrupts readers at any instruction.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4 * runtime.NumCPU()))
	const keys = "ABCDEFGHIJ" // two more than the bucket has slots
	puts := testutil.Stress(t, 100_000)
	var done atomic.Bool
	var readers, writers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			var buf [maxValue]byte
			for i := 0; !done.Load(); i++ {
				key := keys[i%len(keys):][:1]
				value, found := s.get(buf[:0], key)
				if found && (len(value) != maxValue || bytes.Count(value, value[:1]) != maxValue) {
					t.Errorf("session %s has a mixed value", key)
					return
				}
			}
		})
	}
	for w := range 2 {
		writers.Go(func() {
			values := [2][]byte{bytes.Repeat([]byte{'a'}, maxValue), bytes.Repeat([]byte{'b'}, maxValue)}
			for i := range puts {
				key := keys[i%len(keys):][:1]
				if err := s.put(key, values[(i+w)%2], time.Hour); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	done.Store(true)
	readers.Wait()
	if err := s.close(); err != nil {
		t.Error(err)
	}
}

func TestExpiredSessionIsNotFound(t *testing.T) {
	s, err := newStore(1, 0)
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	for key, ttl := range map[string]time.Duration{"fresh": time.Hour, "stale": -time.Second} {
		if err := s.put(key, []byte(key), ttl); err != nil {
			t.Error(err)
		}
		if _, found := s.get(nil, key); found != (ttl > 0) {
			t.Errorf("%s: found is %v", key, found)
		}
	}
	if err := s.close(); err != nil {
		t.Error(err)
	}
}
