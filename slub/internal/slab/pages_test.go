package slab

import (
	"testing"

	"github.com/slubd/slubd/internal/mem"
)

// A slab takes the whole block, also the pages behind its last object: a page of another slab there
// would keep the block from being free as a whole when this slab is freed.
func TestSlabTakesAWholeBlock(t *testing.T) {
	const size, block = 3 * mem.PageSize, 16 * mem.PageSize // 5 objects in 15 pages of 16
	r := open(t, size, Config{Order: 4})
	before := r.Arena().InUse()
	ps := r.take(5)
	ref := r.slabOf(uintptr(ps[0]))
	if got := r.Arena().InUse() - before; got != block || ref.Bytes() != block || ref.Objects() != 5 {
		t.Errorf("a slab of %d objects takes %d bytes, and has %d", ref.Objects(), got, ref.Bytes())
	}
	run, err := r.Arena().AllocPages(1, 0)
	if err != nil {
		t.Fatal(err)
	}
	if next := r.Arena().Addr(run.Page); next-r.Addr(ref) < block {
		t.Errorf("the slab at %#x has %d bytes, the next page is %#x", r.Addr(ref), ref.Bytes(), next)
	}
	r.Arena().Free(run.Page)
	r.FreeBulk(ps)
}
