package percpu

import (
	"math/rand/v2"
	"testing"
	"unsafe"
)

// everyStack locks the given stacks of all CPUs, lets f change each, and unlocks them.
func everyStack(s Slots, k Kind, f func(st *Stack)) {
	for cpu := range NumCPU() {
		st := s.LockCPU(cpu, k)
		f(st)
		st.Unlock()
	}
}

// dueOperations are those that look whether a stack is due. slow counts the calls of slow paths.
func dueOperations(s Slots, slow *int) map[string]func() unsafe.Pointer {
	f := filter(s, Main, testOwn)
	none := func() (unsafe.Pointer, error) { *slow++; return nil, nil }
	pop := newPop(s, Main, none)
	bySize, byNode := new(PopBySize), new(PopByNode)
	bySize.Init(func(int) (unsafe.Pointer, error) { *slow++; return nil, nil })
	fine := make([]Slots, MaxFine/FineStep)
	for i := range fine {
		fine[i] = s
	}
	bySize.Fill(Main, fine, fine[:MaxFine/CoarseStep])
	slice := newSlice(bySize, func(int) ([]byte, error) { *slow++; return nil, nil })
	var open uintptr
	byNode.Init(s, Main, []NodeGate{NewNodeGate(testOwn, unsafe.Pointer(&open))}, f,
		func(int) (unsafe.Pointer, error) { *slow++; return nil, nil })
	ops := map[string]func() unsafe.Pointer{
		"Pop":       func() unsafe.Pointer { p, _ := pop(); return p },
		"PopByNode": func() unsafe.Pointer { p, _ := byNode.Func()(0); return p },
	}
	if current.initPopZero != nil { // the others have no operations by size
		ops["PopBySize"] = func() unsafe.Pointer { p, _ := bySize.Func()(8); return p }
		ops["SliceBySize"] = func() unsafe.Pointer { s, _ := slice(8); return unsafe.Pointer(unsafe.SliceData(s)) }
	}
	return ops
}

// A pop takes its slow path from the operation on for which the stack was armed, be that a pop or a
// push, and the counters are exact.
func TestDue(t *testing.T) {
	eachEngine(t, func(t *testing.T) {
		slots := arrays(t, Main, 64)
		slow := 0
		free := newFree(filter(slots, Main, testOwn), noFree)
		for name, pop := range dueOperations(slots, &slow) {
			everyStack(slots, Main, func(st *Stack) {
				for i := range st.Objects() {
					st.Objects()[i] = object(i)
				}
				st.SetSize(8)
				st.Arm(5)
			})
			before := total(slots, Main)
			slow = 0
			popped, pushed := 0, 0
			for range 1000 * NumCPU() {
				if p := pop(); p == nil {
					continue
				}
				popped++
				if popped%2 == 0 {
					free(object(popped))
					pushed++
				}
			}
			// Each CPU does four operations; or five, if the fifth is a push.
			after := total(slots, Main)
			if slow == 0 || popped+pushed > 5*NumCPU() {
				t.Errorf("%s: %d pops and %d pushes, the slow path was called %d times", name, popped, pushed, slow)
			}
			if int(after.Pops-before.Pops) != popped || int(after.Pushes-before.Pushes) != pushed {
				t.Errorf("%s: counted %+v, then %+v, for %d pops and %d pushes", name, before, after, popped, pushed)
			}
			everyStack(slots, Main, func(st *Stack) { st.Arm(Never) })
			slow = 0
			if p := pop(); p == nil || slow != 0 {
				t.Errorf("%s: a stack that is never due called the slow path", name)
			}
		}
	})
}

// Whatever the lock's holder does in between, counters are exact, and the stack is due after as
// many operations as it was armed for.
func TestDueCounts(t *testing.T) {
	slots := arrays(t, Main, 64)
	st := slots.LockCPU(0, Main)
	defer st.Unlock()
	var pushes, pops uint64
	var dst [8]unsafe.Pointer
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		left := 1 + random.Uint64N(40)
		st.Arm(left)
		for {
			if st.AtTrigger() != (left == 1) {
				t.Fatalf("AtTrigger is %v with %d operations to go", st.AtTrigger(), left)
			}
			if due := st.Due(); due != (left == 1) && st.Size() > 0 {
				t.Fatalf("Due is %v with %d operations to go", due, left)
			}
			if left == 1 {
				break
			}
			n := 1 + random.IntN(min(int(left)-1, len(dst)))
			switch random.IntN(5) {
			case 0:
				n = st.PopN(dst[:n])
				pops += uint64(n)
			case 1:
				n = st.PushN(dst[:n])
				pushes += uint64(n)
			case 2:
				st.SetSize(random.IntN(65))
				continue
			case 3:
				st.Install(st.objs, 32, 64, testOwn)
				continue
			case 4:
				st.fold()
				continue
			}
			left -= uint64(n)
		}
	}
	gotPushes, gotPops := split(st.head, st.base)
	if gotPushes += st.pushes; gotPushes != pushes {
		t.Errorf("counted %d pushes of %d", gotPushes, pushes)
	}
	if gotPops += st.pops; gotPops != pops {
		t.Errorf("counted %d pops of %d", gotPops, pops)
	}
}

// A stack that is not armed is never due: after 2^47 operations a new Install starts the count.
func TestNeverDue(t *testing.T) {
	slots := arrays(t, Main, 8)
	st := slots.LockCPU(0, Main)
	defer st.Unlock()
	if st.SetSize(3); st.Due() || st.AtTrigger() {
		t.Fatal("a new stack is due")
	}
	st.head += (Never - 1) << opShift
	if !st.Due() || st.AtTrigger() == false {
		t.Fatal("the count does not end after Never operations")
	}
	st.head += 1 << opShift
	before := st.pops + st.pushes
	if st.SetSize(3); st.Due() {
		t.Error("Install leaves the count of a stack where it has ended")
	}
	if got := st.pops + st.pushes - before; got != Never {
		t.Errorf("%d operations counted, of %d", got, uint64(Never))
	}
	st.Arm(2)
	st.head += 2 << opShift
	if st.SetSize(3); !st.Due() {
		t.Error("Install makes a stack that was armed forget that it is due")
	}
	st.Install(0, 0, 0, 0)
	if st.clear(); st.head != 0 || st.base != 0 || st.armed {
		t.Errorf("clear leaves %#x, %#x, armed: %v", st.head, st.base, st.armed)
	}
	st.gate |= heldMark // for the deferred call
}
