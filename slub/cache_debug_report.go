package slub

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"unsafe"

	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/callback"
	"github.com/slubd/slubd/slub/internal/debug"
)

// inspect looks at an object of a debug cache, and repairs what was overwritten. It returns a
// report about each part. The caller holds the lock.
func (c *Cache) inspect(obj uintptr, inUse bool) (found []*hooks.Report) {
	l := &c.marks.debug.layout
	for _, o := range l.Check(obj, inUse) {
		from := obj - l.Left
		found = append(found, c.repair(o, obj, c.slabAt(obj), l.Window(obj, o.First, from, from+l.Slot)))
	}
	return found
}

// slabAt returns the address of the slab that an object is in.
func (c *Cache) slabAt(obj uintptr) uintptr {
	a := c.Arena()
	page, _ := a.PageOf(obj)
	head, _, _ := a.Head(page)
	return a.Addr(head)
}

// overwrittenKinds are the kinds of reports by the last word of the part that was overwritten.
var overwrittenKinds = map[string]hooks.Kind{
	"Poison": hooks.WriteAfterFree, "Redzone": hooks.RedZoneOverwritten,
	"padding": hooks.PaddingOverwritten, "Padding": hooks.PaddingOverwritten,
	"track": hooks.RedZoneOverwritten, "Request": hooks.RedZoneOverwritten,
}

// repair restores what was overwritten, in an object or, with obj 0, in its slab, and returns the
// report about it.
func (c *Cache) repair(o debug.Overwrite, obj, slab uintptr, window string) *hooks.Report {
	return repair(&c.marks.debug.layout, c.name, o, obj, slab, window)
}

// repair is Cache.repair for the layout of any object, and the name that its report has.
func repair(l *debug.Layout, name string, o debug.Overwrite, obj, slab uintptr, window string) *hooks.Report {
	problem, detail := o.Part+" overwritten", o.Detail(slab)
	kind := overwrittenKinds[o.Part[strings.LastIndexByte(o.Part, ' ')+1:]]
	r := hooks.NewReport(kind, name, obj, "%s: %s", problem, detail)
	r.Slab = slab
	r.Overwrite = &hooks.Overwrite{Part: o.Part, First: o.First, Last: o.Last, Got: o.Got, Want: o.Want, Window: window}
	r.Repaired = true
	o.Repair()
	describe(l, r, debug.Bug{Problem: problem, Detail: detail, Window: window, Fix: o.Fix()})
	return r
}

// describe adds to a report about an object of that layout its form in the kernel's style, and the
// calls that have allocated and freed the object last.
func describe(l *debug.Layout, r *hooks.Report, b debug.Bug) {
	b.Cache, b.Flags, b.Object, b.Slab = r.Cache, l.Flags, r.Addr, r.Slab
	if r.Addr != 0 {
		allocated, freed := l.Tracks(r.Addr)
		b.Allocated, b.Freed = call(allocated), call(freed)
		r.Allocated = b.Allocated.Stack
		if r.Freed == nil {
			r.Freed = b.Freed.Stack
		}
	}
	r.History = b.Text()
}

// call returns a track with its stack.
func call(t debug.Track) debug.Call { return debug.Call{Track: t, Stack: calls.Numbered(t.Stack)} }

// fire makes a report, and then does what Config.DebugAction says. In other caches it is
// Report.Fire.
func (c *Cache) fire(r *hooks.Report) {
	d, h := c.debug(), c.hooking.now.Load()
	defer runtime.KeepAlive(h)
	if d == nil {
		r.Fire(&h.Hooks)
		return
	}
	if r.History == "" && c.isObject(r) {
		r.Slab = c.slabAt(r.Addr)
		describe(&d.layout, r, debug.Bug{Problem: r.Kind.String(), Detail: r.Detail})
	}
	d.act(h, r)
}

// act makes a report, and then does what Config.DebugAction says.
func (d *debugging) act(h *hookSet, r *hooks.Report) {
	switch {
	case h.Report != nil:
		callback.Run(h.Report, r)
	case d.action == 0:
		r.Fire(&h.Hooks)
	default:
		fmt.Fprintf(os.Stderr, "%+v\n", r)
	}
	switch d.action {
	case DebugPanic:
		panic(r)
	case DebugAbort:
		abort(r)
	}
}

// isObject reports whether a report is about an object of the cache, which has tracks.
func (c *Cache) isObject(r *hooks.Report) bool {
	return r.Kind == hooks.DoubleFree && r.Addr != 0 && r.Owner == ""
}

// abort ends the process with a report, by a panic on a goroutine of its own: nothing recovers it,
// and GOTRACEBACK=crash makes a core dump of it.
func abort(r *hooks.Report) {
	go panic(r)
	select {}
}

// keep keeps reports for reportFound.
func (d *debugging) keep(found []*hooks.Report) {
	d.mu.Lock()
	d.keepLocked(found)
	d.mu.Unlock()
}

func (d *debugging) keepLocked(found []*hooks.Report) {
	if len(found) > 0 {
		d.reports = append(d.reports, found...)
		d.pending.Store(true)
	}
}

// takeFound returns the reports that reportFound would make, which it makes no more.
func (d *debugging) takeFound() (found []*hooks.Report) {
	d.mu.Lock()
	defer d.mu.Unlock()
	found, d.reports = d.reports, nil
	d.pending.Store(false)
	return found
}

// reportFound makes the reports that frees have found. It is called when the caller holds no object
// that its user does not know. If a report doesn't return, the next call makes the rest. What
// another goroutine has found at the same moment may be among them; the report has the stack of
// that one.
func (c *Cache) reportFound() {
	d := c.debug()
	if d == nil {
		return
	}
	for d.pending.Load() {
		if r := d.nextFound(); r != nil {
			c.fire(r)
		}
	}
}

// nextFound takes the first of the reports that frees have found; nil if there is none.
func (d *debugging) nextFound() (r *hooks.Report) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.reports) > 0 {
		r, d.reports = d.reports[0], d.reports[1:]
	}
	d.pending.Store(len(d.reports) > 0)
	return r
}

// trace prints that an object is allocated or freed, and the call stack (kernel: trace).
func (d *debugging) trace(name, what string, p unsafe.Pointer) {
	if d.has(debug.Trace) {
		t := hooks.NewReport(0, name, uintptr(p), "")
		var s strings.Builder
		fmt.Fprintf(&s, "TRACE %s %s 0x%x\n", name, what, uintptr(p))
		debug.WriteStack(&s, t.Stack)
		os.Stderr.WriteString(s.String())
	}
}
