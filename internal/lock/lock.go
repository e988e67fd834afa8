// Package lock has a mutex that can be unlocked where nothing may be waited for.
//
// sync.Mutex is not enough there. It can be tried without waiting, but who unlocks it
// has to wake whoever waits, which is a system call, and now and then to hand it over
// and stand back. Here the waiters look after themselves.
//
// It sits below everything that locks: it owns no memory and imports internal/mem.
package lock

import (
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/slubd/slubd/internal/mem"
)

// A Mutex is a mutual exclusion lock for a few hundred instructions at a time. TryLock
// and Unlock never call into Go's runtime, and cost less than those of sync.Mutex. Of
// those who wait the first looks again and again, between turns of other goroutines;
// all others sleep behind it.
//
// The zero Mutex is open.
type Mutex struct {
	held  uint32     // 1: somebody has the lock
	claim uint32     // 1: it goes to the first of those who wait
	queue sync.Mutex // the first of those who wait has this
}

// TryLock takes the lock if nobody has it or has waited for it long enough.
func (m *Mutex) TryLock() bool {
	return atomic.LoadUint32(&m.claim) == 0 && m.take()
}

func (m *Mutex) take() bool { return atomic.CompareAndSwapUint32(&m.held, 0, 1) }

// Unlock ends what Lock or TryLock began, by one store.
func (m *Mutex) Unlock() { mem.Store32(&m.held, 0) }

// Lock waits until it has the lock.
func (m *Mutex) Lock() {
	if !m.TryLock() {
		m.wait()
	}
}

// patience is how often the first of those who wait looks, some ten microseconds long,
// until it has newcomers stand behind it.
const patience = 100

func (m *Mutex) wait() {
	m.queue.Lock()
	for looks := 0; !m.take(); looks++ {
		if looks == patience {
			mem.Store32(&m.claim, 1)
		}
		runtime.Gosched()
	}
	mem.Store32(&m.claim, 0)
	m.queue.Unlock()
}
