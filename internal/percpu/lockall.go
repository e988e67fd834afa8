package percpu

import (
	"runtime"
	"sync/atomic"

	"github.com/slubd/slubd/internal/invariants"
)

// A place is where a stack is: the stacks of one cell, a CPU, a kind.
type place struct {
	slots Slots
	cpu   int
	kind  Kind
}

func (p place) stack() *Stack { return p.slots.Stack(p.cpu, p.kind) }

// A Locked is a stack whose lock the caller holds.
type Locked struct {
	*Stack
	CPU  int
	Kind Kind
}

// LockAll takes the locks of all stacks that CPUs have used, and waits for those that are held. The
// caller holds no stack's lock. One goroutine at a time for each Slots.
//
// It interrupts the CPUs once, rather than once for each stack. Operations on the stacks take the
// slow path until they are unlocked. No two goroutines can wait for each other here: the holder of
// one stack's lock waits for nothing.
func (s Slots) LockAll() (held []Locked) {
	var places []place
	for cpu := range s.CPUs() {
		places = append(places, place{s, cpu, Main}, place{s, cpu, RCU})
	}
	lockPlaces(places)
	for _, p := range places {
		held = append(held, Locked{Stack: p.stack(), CPU: p.cpu, Kind: p.kind})
	}
	return held
}

// lockPlaces is TryLockCPU for many stacks, those of one CPU one after the other, but waits until
// each lock is free. See TryLockCPU for the reasons.
func lockPlaces(places []place) {
	closed := make([]uint64, len(places))
	var cpus []int
	for i, p := range places {
		closed[i] = p.stack().waitLock()
		setMark(p.slots.base, p.cpu)
		if len(cpus) == 0 || cpus[len(cpus)-1] != p.cpu {
			cpus = append(cpus, p.cpu)
		}
	}
	fenceCPUs(cpus)
	for i, p := range places {
		// A lockStack that committed before it could be restarted has the lock.
		if atomic.LoadUint64(&p.stack().gate) != closed[i] {
			p.slots.LockCPU(p.cpu, p.kind)
		}
		if invariants.Enabled {
			invariants.Reach(invariants.StackHeld)
		}
	}
}

// waitLock is tryLock, but waits until the lock is free.
func (s *Stack) waitLock() (closed uint64) {
	for {
		if closed, ok := s.tryLock(newTicket()); ok {
			return closed
		}
		runtime.Gosched()
	}
}

// fewCPUs is the largest number of CPUs that are interrupted one by one. For more there is one
// system call, which interrupts all CPUs that the process runs on at the moment.
const fewCPUs = 2

// fenceCPUs has the kernel restart the sequences that run on the given CPUs.
func fenceCPUs(cpus []int) {
	if len(cpus) > fewCPUs {
		fence(allCPUs)
		return
	}
	for _, cpu := range cpus {
		fence(cpu)
	}
}

// allCPUs stands for all CPUs in a call of fence.
const allCPUs = -1

// fence restarts the sequences that run on a CPU.
func fence(cpu int) {
	fences.Add(1)
	current.fence(cpu)
}

var fences atomic.Uint64

// Fences returns how often CPUs were interrupted, to take the locks of stacks from elsewhere. Each
// is a system call under the rseq engine.
func Fences() uint64 { return fences.Load() }
