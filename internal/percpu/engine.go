package percpu

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
)

// engine is what the two engines differ in.
type engine struct {
	name       string
	lock       func(slots uintptr) int // TryLock; the CPU, or -1
	lockNoWait func(slots uintptr) int // the same without a system call
	fence      func(cpu int)           // LockCPU's second half
	cpu        func() int              // a hint at the calling CPU; may be negative
	initPop    func(p *Pop)            // its slots and slow path are set
	initFree   func(f *Free)           // its filter and slow path are set
	readers    bool                    // Readers are sequences
}

// current is the engine of this process, why why it isn't the best one.
var current, why = choose(os.Getenv("SLUBD_ENGINE"))

// Engine names the engine in use: "rseq" or "trylock".
func Engine() string { return current.name }

// Reason says why Engine isn't rseq, or in which reduced form it is; "" when
// there is nothing to say.
func Reason() string { return why }

// CPU returns the number of a CPU that the caller ran on just now, between 0 and
// NumCPU()-1. It may have moved since.
func CPU() int {
	if cpu := current.cpu(); cpu >= 0 && cpu < NumCPU() {
		return cpu
	}
	return 0
}

// choose picks the best engine that works here, or the one that forced names.
// A forced engine that doesn't work is reported and replaced, since a daemon
// must start.
func choose(forced string) (engine, string) {
	if forced == "trylock" {
		return newTrylock(), "SLUBD_ENGINE=trylock"
	}
	e, err := newRseq()
	if err == nil {
		err = selfTest(e)
	}
	if err != nil {
		return newTrylock(), err.Error()
	}
	if forced == "rseq-abi0" {
		return e, "SLUBD_ENGINE=rseq-abi0"
	}
	fast := withRegisters(e)
	if err := selfTest(fast); err != nil {
		return e, "register calls: " + err.Error()
	}
	if forced != "" && forced != "rseq" {
		return fast, fmt.Sprintf("SLUBD_ENGINE=%q is not rseq, rseq-abi0 or trylock", forced)
	}
	return fast, ""
}

// selfTest runs an engine's operations on a slot of its own and compares every
// result, argument and count. It guards against a Go whose register ABI changed
// and against a thread area that is not where libc said.
func selfTest(e engine) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("self-test: %v", r)
		}
	}()
	slots, err := NewSlots()
	if err != nil {
		return err
	}
	// Off-heap like all that a stack points to: a Go array would lie on this
	// goroutine's stack, which may move.
	array, err := Reserve(mem.PageSize)
	if err != nil {
		return err
	}
	page, err := Reserve(mem.PageSize)
	if err != nil {
		return err
	}
	const own, slot = 7, 1344 // three objects to a page, and room that is none
	owners := [1]uint32{own}
	for cpu := range NumCPU() {
		slots.Stack(cpu, RCU).Install(array, 0, 2, own)
	}
	f := NewFilter(page, 1, unsafe.Pointer(&owners), slot, 3, 0).Serve(slots, RCU)
	object := func(i uintptr) unsafe.Pointer { return mem.Ptr(page + i*slot) }
	errEmpty := errors.New("empty")
	var asked int
	var refused []unsafe.Pointer
	popped := &Pop{slots: f.slots, slow: func() (unsafe.Pointer, error) { asked++; return nil, errEmpty }}
	freed := &Free{Filter: f, slow: func(p unsafe.Pointer) { refused = append(refused, p) }}
	e.initPop(popped)
	e.initFree(freed)
	pop, free := popped.Func(), freed.Func()
	// Alone on the slots, so that one array can stand on every CPU's stack and a
	// migration between two operations is the only thing that can disturb.
	for range 16 {
		cpu := e.cpu()
		refused, asked = nil, 0
		p0, err0 := pop()
		owners[0] = own + 1
		free(object(0))
		owners[0] = own
		free(mem.Ptr(page + 1))
		free(object(3))
		free(object(0))
		free(object(1))
		free(object(2))
		p1, err1 := pop()
		p2, err2 := pop()
		if e.cpu() != cpu {
			for cpu := range NumCPU() {
				slots.Stack(cpu, RCU).SetSize(0)
			}
			continue
		}
		want := []unsafe.Pointer{object(0), mem.Ptr(page + 1), object(3), object(2)}
		switch {
		case p0 != nil || err0 != errEmpty || asked != 1:
			return errors.New("self-test: an empty stack didn't ask the slow path")
		case !slices.Equal(refused, want):
			return errors.New("self-test: free took a stranger or more than fits")
		case p1 != object(1) || p2 != object(0) || err1 != nil || err2 != nil:
			return errors.New("self-test: pop returned something else than was freed")
		}
		if r := newReaders(e); !selfTestReaders(r) {
			return errors.New("self-test: sections are miscounted")
		}
		return selfTestLock(e, slots, f.slots)
	}
	return errors.New("self-test: no quiet moment on one CPU")
}

// selfTestLock checks that a held stack refuses both operations and another lock.
func selfTestLock(e engine, slots Slots, base uintptr) error {
	cpu := e.lock(base)
	if cpu < 0 {
		return errors.New("self-test: a free stack could not be locked")
	}
	st := slots.Stack(cpu, RCU)
	held := st.held() && !st.tryLockLocal()
	e.fence(cpu)
	st.Unlock()
	if !held || st.held() {
		return errors.New("self-test: the gate doesn't show its holder")
	}
	return nil
}
