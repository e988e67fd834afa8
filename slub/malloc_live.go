package slub

import (
	"iter"
	"runtime"

	"github.com/slubd/slubd/internal/mem"
)

// Live is Cache.Live for all size classes, one after the other, and for large objects behind them,
// whose Cache is the Buckets' name and "-large". Size is that of the class, or the bytes of a large
// object's pages. An object that Realloc moves while the loop runs may be yielded at both places or
// none. Any goroutine, not a callback. It costs what Cache.Live costs, for each class in use.
func (b *Buckets) Live() iter.Seq[LiveObject] {
	return func(yield func(LiveObject) bool) {
		defer runtime.KeepAlive(b)
		for c := range b.all() {
			if c.hasSlabs() && !c.live(yield) {
				return
			}
		}
		for head, word := range b.arena.Runs() {
			if word.ID() != b.id {
				continue
			}
			l, ok := b.largeAt(mem.Ptr(b.arena.Addr(head) + b.large.lead))
			if ok && !b.large.debug.waits(l) && !yield(b.liveLarge(l)) {
				return
			}
		}
		for _, addr := range b.large.addresses() {
			if l, ok := b.largeAt(mem.Ptr(addr)); ok && !b.large.debug.waits(l) && !yield(b.liveLarge(l)) {
				return
			}
		}
	}
}

func (b *Buckets) liveLarge(l large) LiveObject {
	o := b.largeObject(l)
	return LiveObject{Cache: o.Cache, Addr: o.Addr, Size: o.Size, Node: o.Node}
}

// hasSlabs reports whether the cache has any.
func (c *Cache) hasSlabs() bool {
	for i := range c.Arena().Topology().Nodes() {
		if c.slabs.NodeStats(i).Slabs > 0 {
			return true
		}
	}
	return false
}

// addresses returns those of the mappings.
func (l *largeObjects) addresses() (addrs []uintptr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for addr := range l.mine {
		addrs = append(addrs, addr)
	}
	return addrs
}
