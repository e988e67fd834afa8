package slub

import (
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/slub/internal/debug"
)

// In debug Buckets all that is larger than 32 KiB is a page run or a mapping: there are no page
// classes. Each lies in a slot of package debug, as the objects of debug caches do, of whole pages:
//
//	page of the left red zone | object, to a page's end | page: right red zone, tracks, request
//
// With F, T, A or Q alone there are no such pages, nor bytes to be looked at.
//
//	pages from the arena  --beginLarge, before the hook-->     in use, registered
//	in use                --claim-->                           bytes as in use
//	claimed               --endLarge, after hooks-->           checked; poison; waits
//	waits                 --more than limit bytes wait, Shrink,
//	                        Close, memory is short-->          checked; pages to the arena
//
// A freed object has no slab in which it could lie as poison, and its pages would soon be others'.
// So it waits, whatever the letters are. While it does, its Group is charged for it, and a second
// free finds it claimed. The registry tells Validate what it may look at: an object is in it from
// the moment that its bytes are in place until its pages go back, and each change of the bytes and
// of the registry is one step under debugging.mu.

// A debugLarge is what the large objects of debug Buckets have in addition to others. All but the
// registry, the queue and the reports is constant.
type debugLarge struct {
	debugging         // its layout is that of one page; see layoutOf
	name      string  // in reports
	limit     uintptr // bytes that may wait

	objs  map[uintptr]largeUse // by address; under mu
	queue []large              // those that wait, in the order in which they came; under mu
	bytes uintptr              // of these; under mu
	shut  bool                 // nothing waits any more: the Buckets are closed. Under mu
}

// A largeUse says what a registered object is.
type largeUse struct {
	l     large
	waits bool // it is free
}

// largeWaiting is how many times the bytes that may wait in a cache large objects may have.
const largeWaiting = 64

// large returns a config with what the one of debug Buckets says of large objects.
func (c BucketsConfig) large() Config {
	return Config{Name: c.name() + "-large", Size: mem.PageSize, Debug: c.Debug, DebugAction: c.DebugAction}
}

// debugLarge makes the Buckets debug Buckets, if their config says so.
func (l *largeObjects) debugLarge(cfg Config) {
	f := cfg.debugFlags()
	if f == 0 {
		return
	}
	d := &debugLarge{name: cfg.Name, limit: largeWaiting * quarantineBytes(), objs: map[uintptr]largeUse{}}
	d.action = cfg.debugAction()
	d.layout = layoutLarge(f, mem.PageSize)
	if d.layout.Extends() {
		l.lead, l.beside = d.layout.Left, d.layout.Slot-mem.PageSize
	}
	l.debug = d
}

// layoutLarge returns the layout of a large object of that many bytes, whole pages.
func layoutLarge(f debug.Flags, bytes uintptr) debug.Layout {
	return debug.NewLayout(f, bytes, mem.PageSize, false).WithoutLink()
}

func (d *debugLarge) layoutOf(l large) debug.Layout { return layoutLarge(d.layout.Flags, l.bytes) }

// beginLarge writes the bytes beside an object, all of which is the hook's, and registers it.
func (b *Buckets) beginLarge(l large) {
	d := b.large.debug
	if d == nil {
		return
	}
	limitObject(mem.Ptr(b.base(l)), 0, b.large.lead)
	limitObject(mem.Ptr(l.addr+l.bytes), 0, b.large.beside-b.large.lead)
	layout := d.layoutOf(l)
	layout.Begin(l.addr)
	layout.SetAllocated(l.addr, d.track(true))
	d.mu.Lock()
	d.objs[l.addr] = largeUse{l: l}
	d.mu.Unlock()
	d.trace(d.name, "alloc", mem.Ptr(l.addr))
}

// noteLargeFree keeps the call that has claimed an object. Without stack it waits for nothing.
func (b *Buckets) noteLargeFree(l large, stack bool) {
	if d := b.large.debug; d != nil && d.has(debug.Users) {
		layout := d.layoutOf(l)
		layout.SetFreed(l.addr, d.track(stack))
	}
}

// limitLarge makes n of an object's bytes those that its user asked for; see Cache.limitDebug.
func (b *Buckets) limitLarge(l large, n uintptr) {
	d := b.large.debug
	if d == nil || !d.has(debug.RedZone) {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	use, ok := d.objs[l.addr]
	if !ok || use.waits {
		return
	}
	layout := d.layoutOf(use.l)
	if d.has(debug.Consistency) && layout.Requested(use.l.addr) < layout.Size {
		use.l.freeing = l.freeing
		d.inspectUsed(use.l) // or what was overwritten would become the user's
	}
	layout.SetRequest(use.l.addr, n, b.config.Flags&InitOnAlloc != 0)
}

// endLarge ends the use of a claimed object: it waits, or its pages go back. What is found is
// reported by reportLargeFound.
func (b *Buckets) endLarge(l large) {
	d := b.large.debug
	layout := d.layoutOf(l)
	d.trace(d.name, "free", mem.Ptr(l.addr))
	b.endUse(l) // before another goroutine may give the pages back
	var t debug.Track
	if _, freed := layout.Tracks(l.addr); freed.When == 0 { // its user has not freed it
		t = d.track(true)
	}
	d.mu.Lock()
	waits := !d.shut && l.bytes <= d.limit
	if d.has(debug.Consistency) || !waits {
		d.inspectUsed(l)
	}
	if b.config.Flags&InitOnFree != 0 && !(waits && layout.Poisons()) {
		mem.Zero(l.addr, l.bytes)
	}
	if t.When != 0 {
		layout.SetFreed(l.addr, t)
	}
	var leaving []large
	if waits {
		layout.Free(l.addr)
		limitObject(mem.Ptr(l.addr), 0, l.bytes)
		d.objs[l.addr] = largeUse{l: l, waits: true}
		d.queue = append(d.queue, l)
		d.bytes += l.bytes
		leaving = d.leaveLocked(d.limit)
	} else {
		delete(d.objs, l.addr)
	}
	d.mu.Unlock()
	if !waits {
		b.returnPages(l)
	}
	b.returnAll(leaving)
}

// leaveLocked takes objects from the queue, those first that have waited longest, until no more
// than that many bytes wait. It returns them: their pages are to go back. It looks at each, also
// without F, since nothing else will.
func (d *debugLarge) leaveLocked(most uintptr) (leaving []large) {
	n := 0
	for ; d.bytes > most; n++ {
		l := d.queue[n]
		d.bytes -= l.bytes
		d.keepLocked(d.inspect(d.objs[l.addr]))
		delete(d.objs, l.addr)
		leaving = append(leaving, l)
	}
	d.queue = d.queue[n:]
	return leaving
}

// emptyLarge gives back the pages of all that waits, and returns how many objects that were. With
// shut nothing waits from then on.
func (b *Buckets) emptyLarge(shut bool) int {
	d := b.large.debug
	if d == nil {
		return 0
	}
	d.mu.Lock()
	d.shut = d.shut || shut
	leaving := d.leaveLocked(0)
	d.mu.Unlock()
	b.returnAll(leaving)
	return len(leaving)
}

func (b *Buckets) returnAll(leaving []large) {
	for _, l := range leaving {
		b.returnPages(l)
	}
}

// waits reports whether an object is free, and waits.
func (d *debugLarge) waits(l large) bool {
	if d == nil {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.objs[l.addr].waits
}

// inspectUsed is Cache.inspectUsed for large objects.
func (d *debugLarge) inspectUsed(l large) {
	layout := d.layoutOf(l)
	look := func() { d.keepLocked(d.inspect(largeUse{l: l})) }
	if l.freeing {
		layout.Unfreed(l.addr, look)
	} else {
		look()
	}
}

// inspect looks at an object, and repairs what was overwritten. It returns a report about each
// part. The caller holds the lock.
func (d *debugLarge) inspect(u largeUse) (found []*hooks.Report) {
	layout, obj := d.layoutOf(u.l), u.l.addr
	from := obj - layout.Left
	for _, o := range layout.Check(obj, !u.waits) {
		found = append(found, repair(&layout, d.name, o, obj, from, layout.Window(obj, o.First, from, from+layout.Slot)))
	}
	return found
}
