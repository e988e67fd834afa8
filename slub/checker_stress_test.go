package slub_test

import (
	"context"
	"os"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// stress runs f while signals interrupt every thread and the collector stops the world, with four
// times as many threads as CPUs.
func stress(t *testing.T, f func()) {
	t.Helper()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4 * runtime.NumCPU()))
	during(f,
		// Go preempts goroutines by SIGURG, and takes this for it.
		every(20*time.Microsecond, func() { _ = syscall.Kill(os.Getpid(), syscall.SIGURG) }),
		every(time.Millisecond, runtime.GC),
	)
}

// during runs f and beside it others, whose stop is closed when f returns.
func during(f func(), others ...func(stop chan struct{})) {
	stop := make(chan struct{})
	var beside sync.WaitGroup
	for _, other := range others {
		beside.Go(func() { other(stop) })
	}
	defer beside.Wait()
	defer close(stop)
	f()
}

// every returns a function that calls f repeatedly, with pauses, until stop is closed.
func every(pause time.Duration, f func()) func(stop chan struct{}) {
	return func(stop chan struct{}) {
		for {
			select {
			case <-stop:
				return
			case <-time.After(pause):
				f()
			}
		}
	}
}

// disturb calls a subject's slow operations while workers call the fast ones.
func (s *subject) disturb(stop chan struct{}) {
	turn := 0
	every(5*time.Millisecond, func() {
		switch turn++; turn % 4 {
		case 0:
			if err := s.cache.Barrier(context.Background()); err != nil {
				s.faultf("Barrier: %v", err)
			}
		case 1, 2:
			s.cache.Shrink()
		default:
			s.cache.Stats()
		}
	})(stop)
}

// tune changes a subject's limits while workers use it.
func (s *subject) tune(stop chan struct{}) {
	turn := 0
	every(time.Millisecond, func() {
		turn++
		if err := s.cache.SetSheafCapacity(turn * 37 % 201); err != nil {
			s.faultf("SetSheafCapacity: %v", err)
		}
		if err := s.cache.SetBarnLimits(turn%22-1, turn*5%22-1); err != nil {
			s.faultf("SetBarnLimits: %v", err)
		}
	})(stop)
}

// read is a registered reader of published objects. An object that it has found must not change
// until the reader reports a quiescent state, also if a worker frees it meanwhile.
func (s *subject) read(stop chan struct{}) {
	r := s.domain.Register(s.cache.Name())
	defer func() { _ = r.Close() }()
	var found [8]struct {
		p     unsafe.Pointer
		stamp uint64
	}
	for round := 0; ; round++ {
		select {
		case <-stop:
			return
		default:
		}
		for i := range found {
			f := &found[i]
			if f.p = unsafe.Pointer(s.published[(round+i)%len(s.published)].Load()); f.p != nil {
				f.stamp = stampIn(f.p)
			}
		}
		if round%16 == 0 {
			runtime.Gosched()
		}
		for _, f := range found {
			if f.p != nil && !painted(f.p, s.size, f.stamp) {
				s.faultf("%p, stamp %#x, changed under a reader", f.p, f.stamp)
			}
		}
		r.Quiescent()
		if round%64 == 0 {
			r.Offline()
			time.Sleep(100 * time.Microsecond)
			r.Online()
		}
	}
}
