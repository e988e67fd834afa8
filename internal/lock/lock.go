// Package lock has a mutex whose TryLock and Unlock may be called where nothing may block.
//
// sync.Mutex is not enough there. It can be tried without waiting, but its Unlock has to wake a
// waiter, which is a system call, and sometimes hands the lock over to the waiter and yields. Here
// waiters need no help from Unlock. A Turn is for the other end: rounds of work that take long.
//
// The package owns no memory and imports internal/mem only.
package lock

import (
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/slubd/slubd/internal/mem"
)

// A Mutex is a mutual exclusion lock for a few hundred instructions at a time. TryLock and Unlock
// never call into Go's runtime, and cost less than those of sync.Mutex. The first waiter looks
// again and again, and yields to other goroutines in between; all other waiters sleep behind it.
// Any goroutine may call the methods, and Unlock only while the lock is held.
//
// The zero Mutex is open.
type Mutex struct {
	held  uint32     // 1: the lock is held
	claim uint32     // 1: the lock goes to the first waiter
	queue sync.Mutex // held by the first waiter
}

// TryLock takes the lock if it is open and the first waiter has not claimed it. It never waits.
func (m *Mutex) TryLock() bool {
	return atomic.LoadUint32(&m.claim) == 0 && m.take()
}

func (m *Mutex) take() bool { return atomic.CompareAndSwapUint32(&m.held, 0, 1) }

// Unlock releases the lock, by one store.
func (m *Mutex) Unlock() { mem.Store32(&m.held, 0) }

// Lock waits until it has the lock.
func (m *Mutex) Lock() {
	if !m.TryLock() {
		m.wait()
	}
}

// looksBeforeClaim is how often the first waiter looks, for some ten microseconds, before it claims
// the lock, so that new callers queue behind it.
const looksBeforeClaim = 100

func (m *Mutex) wait() {
	m.queue.Lock()
	for looks := 0; !m.take(); looks++ {
		if looks == looksBeforeClaim {
			mem.Store32(&m.claim, 1)
		}
		runtime.Gosched()
	}
	mem.Store32(&m.claim, 0)
	m.queue.Unlock()
}
