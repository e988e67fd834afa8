package slub

import (
	"unsafe"

	"github.com/slubd/slubd/numa"
)

// A debug cache has no sheaf to lend. Its Prefilled has an array of its own in Go's memory, and no
// loan; the objects in it are in use, like those of AllocBulk, which has allocated them. Free puts
// none back: each has to be checked. (Kernel: a debug cache's sheaf capacity is 0, so every prefill
// is an oversize one.)

// prefillDebug is prefill in a debug cache. node is numa.NoNode for any.
func (c *Cache) prefillDebug(n int, node numa.Node) (*Prefilled, error) {
	p := &Prefilled{cache: c, owner: noOwner, node: node}
	if err := p.fillDebug(n); err != nil {
		return nil, err
	}
	return p, nil
}

// fillDebug makes a Prefilled without a loan hold n objects, if it has fewer. On error it is
// unchanged. The new objects come first in the array, so that Alloc takes those it had.
func (p *Prefilled) fillDebug(n int) error {
	more := max(0, n-int(p.n))
	objs := make([]unsafe.Pointer, more, more+int(p.n))
	if err := p.cache.allocEach(objs, p.node); err != nil {
		return err
	}
	objs = append(objs, p.ownObjects()...)
	p.array, p.n, p.room = unsafe.Pointer(unsafe.SliceData(objs)), uint(len(objs)), uint(len(objs))
	return nil
}

// allocEach fills objs with objects of a node, or of any, or allocates none and returns the reason.
func (c *Cache) allocEach(objs []unsafe.Pointer, node numa.Node) (err error) {
	if node == numa.NoNode {
		return c.AllocBulk(objs)
	}
	got := 0
	defer func() { // also if a hook panics
		if got < len(objs) {
			c.FreeBulk(objs[:got])
		}
	}()
	for i := range objs {
		if objs[i], err = c.AllocNode(node); err != nil {
			return err
		}
		got++
	}
	return nil
}

// isOwn reports whether the Prefilled has an array of its own.
func (p *Prefilled) isOwn() bool {
	return p.array != nil && p.owner == noOwner && p.cache.debug() != nil
}

// ownObjects returns the objects that are left in a Prefilled without a loan.
func (p *Prefilled) ownObjects() []unsafe.Pointer {
	return unsafe.Slice((*unsafe.Pointer)(p.array), p.n)
}
