package percpu

import (
	"testing"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/testutil"
)

// eachMarkedEngine runs a test under the engines that have sequences for marks.
func eachMarkedEngine(t *testing.T, test func(t *testing.T)) {
	eachEngine(t, func(t *testing.T) {
		if !HasMarked() {
			t.Skip("without sequences for marks")
		}
		test(t)
	})
}

// TestMarked has objects of each size that a page has room for claimed, cleared and checked. Of
// small ones each byte is written to after the free.
func TestMarked(t *testing.T) { eachMarkedEngine(t, markedAll) }

func markedAll(t *testing.T) {
	slots, err := NewSlots()
	if err != nil {
		t.Fatal(err)
	}
	area := offHeap(t, markedArea)
	for n := uintptr(8); n <= mem.PageSize-24; n += 8 {
		step := uintptr(1)
		if n > 400 {
			step = 61
		}
		dirty := []uintptr{n - 1}
		for at := uintptr(0); at < n; at += step {
			dirty = append(dirty, at)
		}
		for name, make := range map[string]func(*markedTest, engine, Slots){
			"one stack": (*markedTest).make, "one of several": (*markedTest).makeChosen,
		} {
			err := onOneCPU(current, func(cpu int) error {
				var test markedTest
				test.init(area, n)
				make(&test, current, slots)
				return test.run(slots.unpublished(cpu, RCU), dirty...)
			})
			if err != nil {
				t.Fatalf("%s, %d bytes: %v", name, n, err)
			}
		}
	}
}

// Objects of which nothing is cleared keep their content, and are not looked at.
func TestMarkedOnly(t *testing.T) {
	eachMarkedEngine(t, func(t *testing.T) {
		slots, err := NewSlots()
		if err != nil {
			t.Fatal(err)
		}
		area := offHeap(t, markedArea)
		for _, make := range []func(*markedTest, engine, Slots){(*markedTest).make, (*markedTest).makeChosen} {
			err := onOneCPU(current, func(cpu int) error {
				var test markedTest
				test.init(area, 64)
				test.marks.clear = 0
				make(&test, current, slots)
				st := slots.unpublished(cpu, RCU)
				st.Install(area, 0, 1, markedOwn)
				defer st.Install(area, 0, 0, 0)
				if !test.freed(test.object, markedOwn, MarkInUse, nil, MarkFree, 0) || !test.popped(false) ||
					!test.freed(test.object, markedOwn, MarkFree, []markedSlow{slowFreed}, MarkFree, 0) {
					return errMarked
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		}
	})
}

// markedOps are operations on objects with marks that have memory. Each is zero when it is popped.
func markedOps(base, marks uintptr) stressOps {
	of := NewObjectMarks(base, marks, 6, 64)
	ops := zeroOps(base)
	ops.pop = func(_ Slots, f Filter) PopFunc {
		p := new(PopMarked)
		p.Init(f.Marked(testOwn, of), noPop)
		return p.Func()
	}
	ops.free = func(f Filter, slow FreeFunc) FreeFunc {
		p := new(FreeMarked)
		p.Init(f.Marked(testOwn, of), slow, func(obj unsafe.Pointer) {
			*mem.At[byte](marks + (uintptr(obj)-base)>>6) = MarkInUse // its owner frees it again
			slow(obj)
		})
		return p.Func()
	}
	return ops
}

// TestStressMarked is TestStress of objects with marks.
func TestStressMarked(t *testing.T) {
	eachMarkedEngine(t, func(t *testing.T) {
		objects := uintptr(NumCPU()) * 40
		base, marks := offHeap(t, objects*64), offHeap(t, objects)
		stress(t, markedOps(base, marks), testutil.Stress(t, 1_000_000))
	})
}

// TestSelfTestMarkedRejects breaks each operation in turn.
func TestSelfTestMarkedRejects(t *testing.T) {
	stack, err := newRseq()
	needRseq(t, err)
	good := withRegisters(stack)
	if err := selfTestMarked(good); err != nil {
		t.Fatal(err)
	}
	for name, broken := range map[string]func(*engine){
		"pop looks at nothing": func(e *engine) {
			e.initPopMarked = func(p *PopMarked) { p.of.marks.clear = 0; good.initPopMarked(p) }
		},
		"pop marks nothing": func(e *engine) { e.initPopMarked = func(p *PopMarked) { e.initPop(&p.Pop) } },
		"free claims nothing": func(e *engine) {
			e.initFreeMarked = func(f *FreeMarked) { e.initFree(&f.Free) }
		},
		"free clears too much": func(e *engine) {
			e.initFreeMarked = func(f *FreeMarked) { f.marks.clear += 8; good.initFreeMarked(f) }
		},
		"free forgets that it has claimed": func(e *engine) {
			e.initFreeMarked = func(f *FreeMarked) { f.claimed = f.slow; good.initFreeMarked(f) }
		},
		"no object by size": func(e *engine) {
			e.initPopBySizeMarked = func(p *PopBySize) { p.marked = 0; good.initPopBySizeMarked(p) }
		},
		"no marks by owner": func(e *engine) {
			e.initFreeByOwnerMarked = func(f *FreeByOwner) { f.pages = 1; good.initFreeByOwner(f) }
		},
		"a crash": func(e *engine) {
			e.initPopMarked = func(p *PopMarked) { p.SetSlowOnly(func() (unsafe.Pointer, error) { panic("bad ABI") }) }
		},
	} {
		e := good
		broken(&e)
		if selfTestMarked(e) == nil {
			t.Errorf("not noticed: %s", name)
		}
	}
}
