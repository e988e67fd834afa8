package lock

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestMutexExcludes(t *testing.T) {
	var m Mutex
	for name, lock := range map[string]func() bool{
		"Lock":    func() bool { m.Lock(); return true },
		"TryLock": m.TryLock,
	} {
		if !lock() {
			t.Fatalf("%s failed on an open lock", name)
		}
		if m.TryLock() {
			t.Errorf("two goroutines have the lock, the first by %s", name)
		}
		got := make(chan bool)
		go func() { m.Lock(); close(got) }()
		select {
		case <-got:
			t.Errorf("Lock did not wait for a holder by %s", name)
		case <-time.After(10 * time.Millisecond):
		}
		m.Unlock()
		<-got
		m.Unlock()
	}
}

// TestMutexIsFair: a waiter that has waited for long claims the lock, and new callers queue behind
// it even if the lock is open.
func TestMutexIsFair(t *testing.T) {
	var m Mutex
	m.Lock()
	got := make(chan bool)
	go func() { m.Lock(); close(got) }()
	for start := time.Now(); atomic.LoadUint32(&m.claim) == 0; time.Sleep(time.Millisecond) {
		if time.Since(start) > time.Minute {
			t.Fatal("a waiter has not claimed the lock for a minute")
		}
	}
	m.Unlock()
	<-got
	m.Unlock()
	if !m.TryLock() {
		t.Fatal("the lock stays claimed")
	}
	m.Unlock()
	m.claim = 1
	if m.TryLock() {
		t.Error("TryLock has taken a lock that was claimed")
	}
	if m.Lock(); m.claim != 0 { // it was the first waiter
		t.Error("the lock stays claimed while it is held")
	}
	m.Unlock()
}

// TestMutexStress adds to a plain counter under the lock. The race detector and the sum check it.
func TestMutexStress(t *testing.T) {
	var m Mutex
	var working sync.WaitGroup
	n, want := 0, 0
	for _, lock := range []func() bool{m.TryLock, func() bool { m.Lock(); return true }} {
		for range 3 {
			const each = 5000
			want += each
			working.Go(func() {
				for done := 0; done < each; {
					if lock() {
						n++
						done++
						m.Unlock()
					}
				}
			})
		}
	}
	working.Wait()
	if n != want {
		t.Errorf("counted %d of %d", n, want)
	}
}
