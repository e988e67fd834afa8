package arena

import (
	"errors"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/slubd/slubd/internal/sys"
)

// eventually waits for what other goroutines bring about.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for start := time.Now(); !done(); time.Sleep(100 * time.Microsecond) {
		if time.Since(start) > time.Minute {
			t.Fatalf("after a minute still not: %s", what)
		}
	}
}

// testNotices gives notice when a test says so.
type testNotices struct {
	notice chan bool // whether threads wait for memory
	closed chan bool
	once   sync.Once
}

func (n *testNotices) Wait(most time.Duration) (stalled bool, err error) {
	var timeout <-chan time.Time
	if most > 0 {
		timeout = time.After(most)
	}
	select {
	case stalled = <-n.notice:
		return stalled, nil
	case <-n.closed:
		return false, os.ErrClosed
	case <-timeout:
		return false, os.ErrDeadlineExceeded
	}
}

func (n *testNotices) Close() { n.once.Do(func() { close(n.closed) }) }

// pressureHost is a host whose kernel gives notice by the testNotices that it returns, and says how
// often a cgroup was at its limit.
func pressureHost(complete bool) (w *watch, n *testNotices, atLimit *atomic.Uint64) {
	w = testHost(func() int64 { return 64 << 30 })
	n = &testNotices{notice: make(chan bool), closed: make(chan bool)}
	atLimit = new(atomic.Uint64)
	p := &w.pressure
	p.period = time.Millisecond
	p.open = func() (notices, bool, error) { return n, complete, nil }
	p.read = func() (sys.Pressure, error) {
		return sys.Pressure{Groups: []sys.GroupPressure{{Dir: "g", AtLimit: atLimit.Load(), Anon: 1}}}, nil
	}
	return w, n, atLimit
}

// counter registers a shrinker that frees nothing and is always asked again, and returns how often
// it was called.
func counter(t *testing.T, a *Arena, scan func()) *atomic.Int64 {
	calls := new(atomic.Int64)
	stop := a.AddShrinker(Shrinker{Count: func() int64 { return 1 }, Scan: func(int64) int64 {
		calls.Add(1)
		scan()
		return -1
	}})
	t.Cleanup(stop)
	return calls
}

// TestNoticeCallsShrinkers: a notice that threads wait for memory calls the shrinkers of all arenas
// that have any, and dirty pages go back; so does one that a cgroup was at its limit. A shrinker
// that ends its goroutine doesn't end that. Other notices call nothing.
func TestNoticeCallsShrinkers(t *testing.T) {
	w, n, atLimit := pressureHost(true)
	a, b := open(t, Config{watch: w}), open(t, Config{watch: w})
	a.Free(alloc(t, a, 3, 0).Page)
	first := counter(t, a, runtime.Goexit)
	second := counter(t, b, func() {})
	for round := int64(1); round <= 4; round++ {
		before := [2]int64{first.Load(), second.Load()}
		n.notice <- false
		if stalled := round%2 == 0; stalled {
			n.notice <- true
		} else {
			atLimit.Add(1)
			n.notice <- false
		}
		eventually(t, "the shrinkers are called", func() bool { return first.Load() > before[0] && second.Load() > before[1] })
		eventually(t, "their goroutines end", func() bool { return !a.reclaim.background.Load() && !b.reclaim.background.Load() })
	}
	if first.Load() != 4 || second.Load() != 4 {
		t.Errorf("4 notices of pressure: %d and %d calls", first.Load(), second.Load())
	}
	b.Free(alloc(t, b, 3, 0).Page)
	n.notice <- true
	eventually(t, "the free pages go back", func() bool { return b.Stats().Nodes[0].Free == 0 })
}

// TestPressureIsRead: where the kernel gives no notice of everything, or of nothing, or stops to
// give any, the files are read each period.
func TestPressureIsRead(t *testing.T) {
	for name, open1 := range map[string]func(*testNotices) (notices, bool, error){
		"of stalls only":   func(n *testNotices) (notices, bool, error) { return n, false, nil },
		"until it fails":   func(n *testNotices) (notices, bool, error) { n.Close(); return n, true, nil },
		"open is refused":  func(*testNotices) (notices, bool, error) { return nil, false, syscall.EACCES },
		"the kernel's own": func(*testNotices) (notices, bool, error) { return openNotices() },
	} {
		t.Run(name, func(t *testing.T) {
			w, n, atLimit := pressureHost(false)
			w.pressure.open = func() (notices, bool, error) { return open1(n) }
			defer sys.FailNth(sys.CallOpenPressure, 0, syscall.EINVAL)()
			calls := counter(t, open(t, Config{watch: w}), func() {})
			eventually(t, "a shrinker is called", func() bool { atLimit.Add(1); return calls.Load() > 2 })
		})
	}
}

// TestPressureEnds: the goroutine and its files are there while an open arena has a shrinker, once
// for all arenas, and come again with the next one. On a system that says nothing it ends at once.
func TestPressureEnds(t *testing.T) {
	count := func() (files int) {
		fds, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(fds)
	}
	register := func(a *Arena) (stop func()) {
		return a.AddShrinker(Shrinker{Count: func() int64 { return 0 }, Scan: func(int64) int64 { return 0 }})
	}
	w := testHost(func() int64 { return 64 << 30 })
	var opened, closed atomic.Int64
	w.pressure.open = func() (notices, bool, error) {
		n, complete, err := openNotices()
		if opened.Add(1); err != nil {
			n = &testNotices{notice: make(chan bool), closed: make(chan bool)}
		}
		return countClose{n, &closed}, complete, nil
	}
	warm := register(open(t, Config{watch: w})) // the runtime opens files for the first one
	eventually(t, "the goroutine runs", func() bool { return opened.Load() == 1 })
	warm()
	eventually(t, "it ends", func() bool { return closed.Load() >= 1 && w.pressure.run == nil })
	files, goroutines := count(), runtime.NumGoroutine()
	for round := range int64(3) {
		a, err := New(Config{watch: w, Span: 8 * mib, Topology: nodes(t, 0), Decay: None})
		if err != nil {
			t.Fatal(err)
		}
		b := open(t, Config{watch: w})
		register(a) // Close ends it
		stop, stopOther := register(b), register(b)
		stop()
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the goroutine runs", func() bool { return opened.Load() == round+2 })
		if w.pressure.run == nil {
			t.Error("the goroutine ended while there was a shrinker")
		}
		stopOther()
		if w.pressure.run != nil {
			t.Error("the goroutine goes on without shrinkers")
		}
		eventually(t, "files and goroutines are gone", func() bool {
			return count() <= files && runtime.NumGoroutine() <= goroutines
		})
	}
	if n := opened.Load(); n != 4 {
		t.Errorf("opened %d times, want 4", n)
	}
	w = testHost(func() int64 { return 64 << 30 })
	w.pressure.open = func() (notices, bool, error) { return nil, false, errors.ErrUnsupported }
	w.pressure.read = func() (sys.Pressure, error) { return sys.Pressure{}, errors.ErrUnsupported }
	defer register(open(t, Config{watch: w}))()
	eventually(t, "nothing runs where nothing is said", func() bool { return runtime.NumGoroutine() <= goroutines })
}

// countClose counts Closes.
type countClose struct {
	notices
	closed *atomic.Int64
}

func (c countClose) Close() { c.closed.Add(1); c.notices.Close() }

// TestReadingsOfPressure: what is pressure since the reading before.
func TestReadingsOfPressure(t *testing.T) {
	group := func(dir string, atLimit, oom, file uint64) sys.GroupPressure {
		return sys.GroupPressure{Dir: dir, AtLimit: atLimit, OOM: oom, File: file, Anon: 700}
	}
	at := time.Unix(1000, 0)
	for name, c := range map[string]struct {
		before, now sys.Pressure
		stalled     bool
		want        int64
	}{
		"nothing":        {sys.Pressure{}, sys.Pressure{}, false, 0},
		"notice":         {sys.Pressure{}, sys.Pressure{}, true, partStalled},
		"stalls":         {sys.Pressure{Stalled: time.Hour}, sys.Pressure{Stalled: time.Hour + 75*time.Millisecond}, false, partStalled},
		"shorter stalls": {sys.Pressure{Stalled: time.Hour}, sys.Pressure{Stalled: time.Hour + 74*time.Millisecond}, false, 0},
		"failed reading": {sys.Pressure{Stalled: time.Hour}, sys.Pressure{}, false, 0},
		"at the limit": {sys.Pressure{Groups: []sys.GroupPressure{group("a", 5, 0, 0), group("b", 5, 0, 0)}},
			sys.Pressure{Groups: []sys.GroupPressure{group("a", 5, 0, 0), group("b", 6, 0, 100)}}, false, partStalled},
		"not any more": {sys.Pressure{Groups: []sys.GroupPressure{group("a", 5, 5, 0)}},
			sys.Pressure{Groups: []sys.GroupPressure{group("a", 5, 5, 0)}}, false, 0},
		"at the limit with files": {sys.Pressure{Groups: []sys.GroupPressure{group("a", 5, 0, 0)}},
			sys.Pressure{Groups: []sys.GroupPressure{group("a", 6, 0, 200)}}, false, 0},
		"OOM with files": {sys.Pressure{Groups: []sys.GroupPressure{group("a", 5, 0, 0)}},
			sys.Pressure{Groups: []sys.GroupPressure{group("a", 6, 1, 200)}}, false, partOOM},
		"OOM above": {sys.Pressure{Groups: []sys.GroupPressure{group("a", 5, 0, 0), group("b", 5, 1, 0)}},
			sys.Pressure{Groups: []sys.GroupPressure{group("a", 6, 0, 0), group("b", 5, 2, 0)}}, false, partOOM},
		"a new group": {sys.Pressure{}, sys.Pressure{Groups: []sys.GroupPressure{group("a", 6, 1, 0)}}, false, 0},
	} {
		var r readings
		if n := r.part(c.before, at); n != 0 {
			t.Errorf("%s: the first reading asks for 1/%d", name, n)
		}
		r.stalled = c.stalled
		if n := r.part(c.now, at.Add(time.Second)); n != c.want {
			t.Errorf("%s: 1/%d, want 1/%d", name, n, c.want)
		}
		r.stalled = false
		if n := r.part(c.now, at.Add(2*time.Second)); n != 0 {
			t.Errorf("%s: the same again asks for 1/%d", name, n)
		}
		if n := r.part(c.before, at.Add(3*time.Second)); n != 0 {
			t.Errorf("%s: less than before asks for 1/%d", name, n)
		}
	}
}
