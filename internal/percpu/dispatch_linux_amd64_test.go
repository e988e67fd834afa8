package percpu

import (
	"testing"
	"unsafe"
)

// TestSelfTestChoice: operations that choose pass their test, and fail it when they choose
// nothing, the wrong stack, or lose the slow path's argument.
func TestSelfTestChoice(t *testing.T) {
	stack, err := newRseq()
	if err != nil {
		t.Skip(err)
	}
	good := withRegisters(stack)
	if err := selfTestChoice(good); err != nil {
		t.Fatal(err)
	}
	for name, broken := range map[string]func(*engine){
		"no choice of sizes":  func(e *engine) { e.initPopBySize = stack.initPopBySize },
		"no choice of owners": func(e *engine) { e.initFreeByOwner = stack.initFreeByOwner },
		"sizes mangled": func(e *engine) {
			e.initPopBySize = func(p *PopBySize) {
				slow := p.slow
				p.slow = func(n int) (unsafe.Pointer, error) { return slow(n + 1) }
				good.initPopBySize(p)
			}
		},
		"a pointer mangled": func(e *engine) {
			e.initFreeByOwner = func(f *FreeByOwner) {
				slow := f.slow
				f.slow = func(p unsafe.Pointer) { slow(unsafe.Add(p, 8)) }
				good.initFreeByOwner(f)
			}
		},
		"a crash": func(e *engine) {
			e.initPopBySize = func(p *PopBySize) {
				p.slow = func(int) (unsafe.Pointer, error) { panic("bad ABI") }
				p.pass()
			}
		},
	} {
		e := good
		broken(&e)
		if selfTestChoice(e) == nil {
			t.Errorf("not noticed: %s", name)
		}
	}
}

// TestFreeByOwnerServesARow: it reaches stacks that lie side by side with the first, and
// leaves the others' objects to the slow path.
func TestFreeByOwnerServesARow(t *testing.T) {
	stack, err := newRseq()
	if err != nil {
		t.Skip(err)
	}
	const first, n = 5, 4
	row, err := NewSlotsRow(n)
	if err != nil {
		t.Fatal(err)
	}
	apart, err := NewSlots()
	if err != nil {
		t.Fatal(err)
	}
	row[2] = apart // and what comes behind it is none of the row
	var owners [n]uint32
	filters := make([]Filter, n)
	for i := range filters {
		owners[i] = uint32(first+i) << NodeBits
		filters[i] = NewFilter(testBase, n, unsafe.Pointer(&owners[0]), 64, 64, 0).Serve(row[i], Main)
		for cpu := range NumCPU() {
			row[i].Stack(cpu, Main).Install(offHeap(t, 64), 0, 8, owners[i])
		}
	}
	slow := 0
	f := &FreeByOwner{slow: func(unsafe.Pointer) { slow++ }}
	withRegisters(stack).initFreeByOwner(f)
	f.Fill(first, filters)
	for i := range filters {
		f.Func()(object(64 * i))
		served := total(row[i], Main).Pushes
		if want := uint64(1 - i/2); served != want || slow != max(0, i-1) {
			t.Errorf("stack %d: %d pushes, want %d; %d frees took the slow path", i, served, want, slow)
		}
	}
}
