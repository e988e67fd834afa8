package percpu

import (
	"testing"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/owner"
)

// TestZero has every engine clear each number of bytes that a slab of one page has room for.
func TestZero(t *testing.T) {
	eachEngine(t, zeroAll)
}

func zeroAll(t *testing.T) {
	slots, err := NewSlots()
	if err != nil {
		t.Fatal(err)
	}
	area := offHeap(t, 2*mem.PageSize)
	for n := uintptr(8); n <= mem.PageSize-24; n += 8 {
		if err := onOneCPU(current, func(cpu int) error { return testZero(current, slots, cpu, area, n) }); err != nil {
			t.Fatalf("%d bytes: %v", n, err)
		}
	}
}

// TestSelfTestZeroRejects breaks each operation in turn.
func TestSelfTestZeroRejects(t *testing.T) {
	good := newTrylock()
	if err := selfTestZero(good); err != nil {
		t.Fatal(err)
	}
	for name, broken := range map[string]func(*engine){
		"pop clears nothing":  func(e *engine) { e.initPopZero = func(p *PopZero) { e.initPop(&p.Pop) } },
		"free clears nothing": func(e *engine) { e.initFreeZero = func(f *FreeZero) { e.initFree(&f.Free) } },
		"free clears too much": func(e *engine) {
			e.initFreeZero = func(f *FreeZero) { f.zero.n += 8; good.makeFreeZero(f) }
		},
		"free by owner clears nothing": func(e *engine) {
			e.initFreeByOwnerZero = func(f *FreeByOwner) { f.pages = f.ownPages; good.initFreeByOwner(f) }
		},
		"free clears what it should not": func(e *engine) {
			e.initFreeZero = func(f *FreeZero) { f.own = owner.Of(8, 0); good.makeFreeZero(f) }
		},
		"pop clears too much": func(e *engine) {
			e.initPopZero = func(p *PopZero) { p.zero.n += 8; good.makePopZero(p) }
		},
		"a crash": func(e *engine) {
			e.initPopZero = func(p *PopZero) { p.SetSlowOnly(func() (unsafe.Pointer, error) { panic("bad ABI") }) }
		},
	} {
		e := good
		broken(&e)
		if selfTestZero(e) == nil {
			t.Errorf("not noticed: %s", name)
		}
	}
}
