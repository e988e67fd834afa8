package freequeue

import (
	"testing"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/percpu"
)

// The pool keeps a few pages, and gives the others back.
func TestPoolKeepsFew(t *testing.T) {
	pp := &pagePool{inited: true} // without the reserve, which is the other pool's
	most := keptPerCPU * percpu.NumCPU()
	var all []*ptrPage
	for range 2 * most {
		all = append(all, pp.get())
	}
	for _, p := range all {
		pp.put(p)
	}
	if pp.kept != most {
		t.Errorf("%d pages kept, want %d", pp.kept, most)
	}
	for range most {
		_ = percpu.Unreserve(uintptr(unsafe.Pointer(pp.get())), mem.PageSize)
	}
	if pp.kept != 0 || pp.free != nil {
		t.Errorf("%d pages left", pp.kept)
	}
}

// What take removes is charged exactly: in parts where all objects have one size, else in one
// step.
func TestTakeSplitsCharges(t *testing.T) {
	p := &ptrPage{n: 10, bytes: 640}
	if objs, bytes := p.take(4); len(objs) != 4 || bytes != 256 || p.n != 6 || p.bytes != 384 {
		t.Errorf("4 of 10: %d objects, %d bytes; %d and %d left", len(objs), bytes, p.n, p.bytes)
	}
	p.bytes = 385 // of different sizes
	if objs, bytes := p.take(6); len(objs) != 6 || bytes != 385 || p.n != 0 || p.bytes != 0 {
		t.Errorf("6 of 6: %d objects, %d bytes; %d and %d left", len(objs), bytes, p.n, p.bytes)
	}
}
