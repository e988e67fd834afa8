package sheaves

import (
	"unsafe"

	"github.com/slubd/slubd/internal/callback"
	"github.com/slubd/slubd/internal/owner"
	"github.com/slubd/slubd/internal/percpu"
)

// TryAlloc takes an object from the sheaves: from main after it has put a sheaf with objects there
// if need be, which may be one that the Source refills. It returns nil if it gets none: the stack's
// lock is held, memory is short, or the Set is closed. It is what a caller of package slub's kind
// falls back on when its own pop has found main empty. (Kernel: alloc_from_pcs.)
func (s *Set) TryAlloc() unsafe.Pointer {
	st := s.lockNonEmpty(anyNode)
	if st == nil {
		return nil
	}
	if st.Due() {
		s.rearm(st)
	}
	p := st.Pop()
	s.unlock(st)
	return p
}

// TryAllocNode takes an object of the given node, or returns nil: from the calling CPU's main if
// that is its node, else from its sheaf for that node. The top object of main may lie on another
// node: a refill may bring some when memory is short on its own. (Kernel: alloc_from_pcs, which
// serves the CPU's own node only.)
func (s *Set) TryAllocNode(node int) unsafe.Pointer {
	c := s.sheavesForCounted(node)
	if c == nil {
		return nil
	}
	p, _ := c.allocNode(node, false)
	return p
}

// sheavesForCounted is sheavesFor for AllocNode, whose calls for another node it counts.
func (s *Set) sheavesForCounted(node int) *cpuSheaves {
	c := s.sheavesFor(node)
	if c != &s.cpuSheaves {
		s.count(AllocNodeMismatch, 1)
	}
	return c
}

// anyNode, for lockNonEmpty, is the node of whatever CPU the caller runs on.
const anyNode = -1

// lockNonEmpty locks the calling CPU's stack with at least one object on it, or returns nil without
// the lock. The stack is one for objects of the given node.
func (c *cpuSheaves) lockNonEmpty(node int) *percpu.Stack {
	st, cpu := c.lockMain()
	if st == nil {
		return nil
	}
	if node != anyNode && c.node(cpu) != node {
		c.unlock(st)
		return nil
	}
	if st.Size() > 0 {
		return st
	}
	if c.isRemote && st.Cap() == 0 {
		c.unlock(st)
		if st = c.install(node); st == nil || st.Size() > 0 {
			return st
		}
		return c.replaceEmpty(st, cpu, &c.set.barns[node], node) // perhaps of another CPU
	}
	b, node := c.barnOf(cpu)
	return c.replaceEmpty(st, cpu, b, node)
}

// replaceEmpty finds another sheaf for a locked stack whose main is empty, or unlocks it and
// returns nil. The stack holds objects of the given node, whose barn is b; cpu may have an empty
// spare. (Kernel: __pcs_replace_empty_main.)
func (c *cpuSheaves) replaceEmpty(st *percpu.Stack, cpu int, b *barn, node int) *percpu.Stack {
	if c.swapIn(st, b) {
		return st
	}
	st.Unlock()
	// A sheaf whose grace period is over costs no slab work: it goes first. The kernel can't know
	// before the callback has run.
	fresh := c.set.takeReclaimed(b)
	if fresh == nil {
		fresh = c.refill(c.findEmpty(b, cpu), node)
	}
	if fresh == nil {
		return nil
	}
	return c.relock(fresh, b, c.set.owners[node])
}

// swapIn gives main, which is empty, objects of the spare, or puts a barn's full sheaf in its
// place. The caller holds the stack's lock.
func (c *cpuSheaves) swapIn(st *percpu.Stack, b *barn) bool {
	if st.Cap() == 0 { // closed
		return false
	}
	if refillFromSpare(st) {
		return true
	}
	full := b.replaceEmpty(detachMain(st))
	if full == nil {
		c.set.count(BarnGetFail, 1)
		return false
	}
	c.set.count(BarnGet, 1)
	install(st, full, st.Own())
	return true
}

// refill puts a portion of objects from the Source into empty, unless that is nil. A sheaf that did
// not get its portion is given up, with what it got: memory is short, and the caller's single
// object may still be had (kernel: refill_sheaf's callers).
func (c *cpuSheaves) refill(empty *sheaf, node int) *sheaf {
	if empty == nil {
		return nil
	}
	if !c.set.fillTo(empty, portion(empty), node, c.isRemote, c.set.discard) {
		c.set.discard(empty)
		return nil
	}
	return empty
}

// fill tops a detached sheaf up and reports whether it is full now. With strict it takes objects of
// the node only. If the Source doesn't return, lost gets the sheaf, with what it had before.
func (s *Set) fill(sh *sheaf, node int, strict bool, lost func(*sheaf)) bool {
	return s.fillTo(sh, int(sh.limit), node, strict, lost)
}

// fillTo is fill for a sheaf that shall have n objects, at most its capacity.
func (s *Set) fillTo(sh *sheaf, n, node int, strict bool, lost func(*sheaf)) bool {
	if int(sh.size) >= n {
		return true
	}
	var got int
	callback.Guard(
		func() { got = s.source.Refill(node, sh.slots()[sh.size:n], strict) },
		func() { lost(sh) })
	sh.size += uint32(got)
	s.count(SheafRefill, got)
	return int(sh.size) == n
}

// relock locks the calling CPU's stack, which may be another by now, and uses fresh where it fits:
// in main's place, else as the spare, else in the barn that it was filled for. That is where it
// goes if the stack is for objects of another owner than own.
func (c *cpuSheaves) relock(fresh *sheaf, b *barn, own owner.Word) *percpu.Stack {
	st, _ := c.lockMain()
	if st == nil || st.Own() != own || c.set.staleCapacity(fresh) {
		if st != nil {
			st.Unlock()
		}
		c.set.putInBarn(fresh, b)
		return nil
	}
	var left *sheaf
	spare := sheafOf(st.Spare)
	switch {
	case st.Size() == 0:
		old := detachMain(st)
		install(st, fresh, st.Own())
		if spare == nil {
			setSpare(st, old)
		} else {
			left = old
		}
	case spare == nil:
		setSpare(st, fresh)
	case spare.size == 0:
		setSpare(st, fresh)
		left = spare
	default:
		left = fresh
	}
	if left == nil {
		return st
	}
	if c.set.tryPutInBarn(left, b) {
		return st
	}
	// The barn's mutex may be waited for only without the stack's lock.
	st.Unlock()
	c.set.putInBarn(left, b)
	if st = c.lockFor(own); st != nil && st.Size() == 0 {
		c.unlock(st)
		return nil
	}
	return st
}

// putInBarn gives a detached sheaf to the barn. The barn's limits don't apply: the sheaf was
// obtained for this barn, and has nowhere else to go, unless its capacity is stale. The caller
// holds no lock.
func (s *Set) putInBarn(sh *sheaf, b *barn) {
	size := sh.size // once it is in the barn, another goroutine may take the sheaf
	if !b.put(sh) {
		s.discard(sh)
		return
	}
	s.countPut(size)
	// Pairs with CloseContext, which sets closed before it empties the barns. A sheaf that is put
	// in too late for that is found here.
	if s.closed.Load() {
		s.shrinkBarns()
	}
}

// tryPutInBarn is putInBarn under a stack's lock. False leaves the sheaf with the caller. Close
// need not be looked for: it takes the lock of every stack before it empties the barns, so that
// what this put in is there by then.
func (s *Set) tryPutInBarn(sh *sheaf, b *barn) bool {
	size := sh.size
	if !b.tryPut(sh) {
		return false
	}
	s.countPut(size)
	return true
}

func (s *Set) countPut(size uint32) {
	if size > 0 {
		s.count(BarnPut, 1)
	}
}
