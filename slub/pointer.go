package slub

import (
	"fmt"
	"runtime/metrics"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/internal/text"
)

// A pointerInfo says what a pointer is that a Free refuses.
type pointerInfo struct {
	kind    hooks.Kind // ForeignPointer or WrongCache; of a guarded object that is free DoubleFree
	owner   string     // name of the cache or Buckets that the memory is of; "" for none
	buckets *Buckets   // of a page run or mapping
	slab    uintptr    // start of the slab, run or mapping
	detail  string     // "" for the start of an object of a cache
}

// report makes a report of what a pointer is, for the cache or Buckets of the given name.
func (i pointerInfo) report(name string, p unsafe.Pointer) *hooks.Report {
	r := hooks.NewReport(i.kind, name, uintptr(p), "%s", i.detail)
	r.Owner, r.Slab = i.owner, i.slab
	return r
}

// explain finds out what a pointer is. As with Owner the answer may be outdated at once, and it
// costs as much.
func explain(p unsafe.Pointer) pointerInfo {
	addr := uintptr(p)
	a := arena.Find(addr)
	if a == nil {
		return pointerInfo{kind: hooks.ForeignPointer, detail: foreign(addr)}
	}
	page, inRange := a.PageOf(addr)
	if !inRange {
		if o, ok := mappingOwner(a, addr); ok {
			return o.Buckets.explainLarge(addr, large{addr: o.Addr, bytes: uintptr(o.Size), mapped: true})
		}
		return pointerInfo{kind: hooks.ForeignPointer, detail: fmt.Sprintf("in a mapping of arena %q", a.Stats().Name)}
	}
	if i, ok := explainGuarded(addr); ok {
		return i
	}
	word := a.Owner(page)
	head, pages, used := a.Head(page)
	if !used || word.ID() == 0 {
		return pointerInfo{kind: hooks.ForeignPointer,
			detail: "its page holds no slab; if it ever was an object, its slab or pages have been given back"}
	}
	l := large{addr: a.Addr(head), bytes: uintptr(pages) * mem.PageSize, page: head}
	if c := caches.find(word); c != nil {
		return c.explain(addr, c.slabs.Start(head), c.slabs.ObjectsIn(head)*c.layout.slot)
	}
	if b := bucketsOf(word); b != nil {
		l.addr, l.bytes = l.addr+b.large.lead, l.bytes-b.large.beside
		return b.explainLarge(addr, l)
	}
	return pointerInfo{kind: hooks.ForeignPointer, slab: l.addr, detail: "its page is of a cache or Buckets that are closed"}
}

// explain says what an address in a slab of the cache is, whose first object is at start.
func (c *Cache) explain(addr, start, bytes uintptr) pointerInfo {
	i := pointerInfo{kind: hooks.WrongCache, owner: c.name, slab: c.slabAt(start)}
	slot := c.layout.slot
	obj := addr - (addr-start)%slot
	switch into := addr - obj; {
	case addr < start: // only of a guarded object
		i.detail = fmt.Sprintf("%d bytes before the object at %#x", start-addr, start)
	case obj-start >= bytes/slot*slot:
		i.detail = "behind the last object of its slab"
	case into >= c.layout.size:
		i.detail = fmt.Sprintf("in the unused bytes behind the object at %#x", obj)
	case into > 0:
		i.detail = fmt.Sprintf("%s into the object of %d at %#x", text.Count(into, "byte", "bytes"), c.layout.size, obj)
	default:
		if b := c.Buckets(); b != nil {
			i.detail = fmt.Sprintf("it is of buckets %q", b.config.name())
		}
	}
	return i
}

// explainLarge says what an address in a large object of the Buckets is.
func (b *Buckets) explainLarge(addr uintptr, l large) pointerInfo {
	what := "page run"
	if l.mapped {
		what = "mapping"
	}
	i := pointerInfo{kind: hooks.WrongCache, owner: b.config.name(), buckets: b, slab: b.base(l),
		detail: fmt.Sprintf("a %s of these buckets", what)}
	switch into := addr - l.addr; {
	case into >= l.bytes:
		i.detail = fmt.Sprintf("beside the object at %#x, a %s of %d bytes", l.addr, what, l.bytes)
	case into > 0:
		i.detail = fmt.Sprintf("%s into the %s of %d at %#x", text.Count(into, "byte", "bytes"), what, l.bytes, l.addr)
	}
	return i
}

// onHeap begins what is said of an address in Go's memory. No exported function tells the stack of
// another goroutine from the heap.
const onHeap = "on Go's heap or "

// foreign says what an address is that lies in no open arena.
func foreign(addr uintptr) string {
	switch on, known := percpu.OnStack(addr); {
	case on:
		return "on this goroutine's stack"
	case inGoMemory(addr) && known:
		return onHeap + "another goroutine's stack"
	case inGoMemory(addr):
		return onHeap + "a goroutine's stack"
	}
	return "in no open arena and not on Go's heap: C memory, a global variable, an object above 4 MiB that has been freed, or of a closed arena"
}

// inGoMemory guesses whether an address lies on Go's heap, of which the goroutines' stacks are
// parts. The runtime maps one range after the other in blocks of 64 MiB, so an object of it is no
// further from any other than all of its memory is large.
func inGoMemory(addr uintptr) bool {
	const block = 64 << 20
	total := []metrics.Sample{{Name: "/memory/classes/total:bytes"}}
	metrics.Read(total)
	if total[0].Value.Kind() != metrics.KindUint64 {
		return false
	}
	here := uintptr(unsafe.Pointer(unsafe.SliceData(total))) // on the heap: Read lets it escape
	span := mem.AlignUp(uintptr(total[0].Value.Uint64()), block)
	return addr-(here-span) < 2*span
}
