//go:build amd64 || arm64

package percpu

import (
	"testing"
	"unsafe"

	"github.com/slubd/slubd/internal/owner"
)

// TestSelfTestChoice: the self-test accepts the engine's operations that choose a stack, and
// rejects operations that choose none, or lose the slow path's argument.
func TestSelfTestChoice(t *testing.T) {
	stack, err := newRseq()
	needRseq(t, err)
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
				p.setSlowCode()
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

// TestFreeByOwnerAdjacent: it reaches stacks that are adjacent to the first, and leaves the
// objects of others to the slow path.
func TestFreeByOwnerAdjacent(t *testing.T) {
	stack, err := newRseq()
	needRseq(t, err)
	const first, n = 5, 4
	slots, err := NewAdjacentSlots(n)
	if err != nil {
		t.Fatal(err)
	}
	apart, err := NewSlots()
	if err != nil {
		t.Fatal(err)
	}
	slots[2] = apart // ends the adjacent slots
	var owners [n]owner.Word
	filters := make([]Filter, n)
	for i := range filters {
		owners[i] = owner.Of(uint32(first+i), 0)
		filters[i] = NewFilter(testBase, n, unsafe.Pointer(&owners[0]), 64, 64, 0).ForStacks(slots[i], Main)
		for cpu := range NumCPU() {
			slots[i].unpublished(cpu, Main).Install(offHeap(t, 64), 0, 8, owners[i])
		}
	}
	slow := 0
	f := &FreeByOwner{slow: func(unsafe.Pointer) { slow++ }}
	withRegisters(stack).initFreeByOwner(f)
	f.Fill(first, filters)
	for i := range filters {
		f.Func()(object(64 * i))
		served := total(slots[i], Main).Pushes
		if want := uint64(1 - i/2); served != want || slow != max(0, i-1) {
			t.Errorf("stack %d: %d pushes, want %d; %d frees took the slow path", i, served, want, slow)
		}
	}
}
