package slub

import (
	"unsafe"

	"github.com/slubd/slubd/internal/invariants"
	"github.com/slubd/slubd/internal/lock"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/rcu"
)

// A block is a page of pointers to objects that wait for a grace period together, off-heap
// (kernel: struct kvfree_rcu_bulk_data).
//
//	0 <= n <= blockCap; objs[:n] are present, and in the same size, or go all at once
//
// Whoever detached it owns all of it; in a row it belongs to the row's mu, the first sealed
// one's n and bytes to the holder of rcuQueue.draining.
type block struct {
	next  *block
	token rcu.Token // sealed blocks: the grace period to see out
	n     int
	bytes uintptr // charged to the backlog for them
	objs  [blockCap]unsafe.Pointer
}

// take takes k of the objects, and what is charged for them.
func (b *block) take(k int) (objs []unsafe.Pointer, bytes uintptr) {
	if bytes = b.bytes; k < b.n {
		bytes = bytes / uintptr(b.n) * uintptr(k)
	}
	b.n -= k
	b.bytes -= bytes
	return b.objs[b.n : b.n+k], bytes
}

const blockCap = (mem.PageSize - 32) / 8

const (
	_ = mem.PageSize - unsafe.Sizeof(block{})
	_ = unsafe.Sizeof(block{}) - mem.PageSize
)

// A blockPool lends blocks to all caches of the process. It keeps a few that came back,
// and has a few that are there from the start, for when no page can be had: they are
// part of the program's image.
//
//	kept <= keptPerCPU * CPUs = length of free
type blockPool struct {
	mu       lock.Mutex
	free     *block
	kept     int
	reserve  *block // of image, those that are not lent
	stocked  bool   // reserve has been filled from image
	imageOut int    // blocks of image that are lent
}

var blocks blockPool

// keptPerCPU is how many blocks per CPU the pool keeps (kernel: rcu_min_cached_objs).
const keptPerCPU = 5

// image is the reserve.
var image [4]block

// get returns an empty block, or nil if there is no memory for one. No lock may be held
// that is ever waited for.
func (p *blockPool) get() *block {
	if b := p.pop(&p.free); b != nil {
		return b
	}
	if addr, err := percpu.Reserve(mem.PageSize); err == nil {
		return mem.At[block](addr)
	}
	return p.pop(&p.reserve)
}

// pop takes the first of a list.
func (p *blockPool) pop(list **block) *block {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.stocked {
		p.stocked = true
		for i := range image {
			image[i].next, p.reserve = p.reserve, &image[i]
		}
	}
	b := *list
	if b == nil {
		return nil
	}
	*list, b.next = b.next, nil
	if list == &p.free {
		p.kept--
	} else {
		p.imageOut++
	}
	return b
}

// put takes an empty block back.
func (p *blockPool) put(b *block) {
	if invariants.Enabled {
		invariants.Check(b.n == 0 && b.bytes == 0 && b.next == nil, "a block is given back with %d objects, %d bytes", b.n, b.bytes)
	}
	p.mu.Lock()
	switch {
	case isImage(b):
		b.next, p.reserve = p.reserve, b
		p.imageOut--
	case p.kept < keptPerCPU*percpu.NumCPU():
		b.next, p.free = p.free, b
		p.kept++
	default:
		p.mu.Unlock()
		_ = percpu.Unreserve(uintptr(unsafe.Pointer(b)), mem.PageSize) // refused only for what was never mapped
		return
	}
	p.mu.Unlock()
}

func isImage(b *block) bool {
	return uintptr(unsafe.Pointer(b))-uintptr(unsafe.Pointer(&image)) < unsafe.Sizeof(image)
}
