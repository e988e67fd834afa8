package slub

import (
	"maps"
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/slubd/slubd/internal/frames"
)

// Caches and Buckets with CallSites count, for each line of the program that allocates, what it has
// in use (kernel: allocation tagging, lib/alloc_tag.c). An object's Ext refers to the site, as
// those of the caches for Accounts refer to an Account; large objects have their reference in
// largeObjects.charged. The same functions end both: see Cache.uncharge.
//
// A site's number is less than any reference to an Account. There are as many sites as the program
// has such lines, so none is ever removed.

// sites has the call sites of the process.
var sites siteTable

// An allocSite is one line of the program.
type allocSite struct {
	pc             uintptr // a return address, as runtime.Callers has it
	objects, bytes atomic.Int64
	allocs         atomic.Uint64
}

// A siteTable finds sites by program counter and by number. Both are read without a lock.
type siteTable struct {
	mu sync.Mutex // a leaf
	// byPC has the number of each site, and 0 for a program counter within the allocator. It is
	// replaced under mu by a map with one entry more.
	byPC atomic.Pointer[map[uintptr]uint32]
	// list has the sites by number - 1. It is replaced under mu by a longer one.
	list atomic.Pointer[[]*allocSite]
}

// maxSiteDepth is how many frames are looked at; the allocator's own are fewer.
const maxSiteDepth = 16

// here returns the number of the site that the caller was called from: the innermost frame outside
// of the allocator. It is 0 if there is none within maxSiteDepth frames, or if there are too many
// sites.
func (t *siteTable) here() (number uint32) {
	var pcs [maxSiteDepth]uintptr
	for _, pc := range pcs[:runtime.Callers(2, pcs[:])] {
		if number = t.find(pc); number != 0 {
			return number
		}
	}
	return 0
}

// find returns the number of the site with a program counter, which is 0 within the allocator.
func (t *siteTable) find(pc uintptr) (number uint32) {
	if known := t.byPC.Load(); known != nil {
		if number, ok := (*known)[pc]; ok {
			return number
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	known := map[uintptr]uint32{}
	if m := t.byPC.Load(); m != nil {
		if number, ok := (*m)[pc]; ok {
			return number
		}
		known = maps.Clone(*m)
	}
	frame, _ := runtime.CallersFrames([]uintptr{pc}).Next()
	if !frames.Own(frame.Function) {
		list := t.all()
		if len(list) < slotMask {
			list = append(list[:len(list):len(list)], &allocSite{pc: pc})
			t.list.Store(&list) // before the number can be found
			number = uint32(len(list))
		}
	}
	known[pc] = number
	t.byPC.Store(&known)
	return number
}

func (t *siteTable) all() []*allocSite {
	if list := t.list.Load(); list != nil {
		return *list
	}
	return nil
}

// add counts an allocation.
func (t *siteTable) add(number uint32, bytes int64) {
	s := t.all()[number-1]
	s.bytes.Add(bytes)
	s.objects.Add(1)
	s.allocs.Add(1)
}

// sub counts the free of an object with a reference.
func (t *siteTable) sub(ref uint64, bytes int64) {
	if list := t.all(); ref-1 < uint64(len(list)) {
		list[ref-1].bytes.Add(-bytes)
		list[ref-1].objects.Add(-1)
	}
}

// noteSite counts an object that has just been marked as in use for the line that allocates it.
func (c *Cache) noteSite(p unsafe.Pointer) {
	if number := sites.here(); number != 0 {
		sites.add(number, int64(c.layout.slot))
		c.slabs.Exts().Refer(uintptr(p), uint64(number))
	}
}

// unrefer ends what a reference of an object stands for: its charge to an Account, or its place in
// a call site's sum.
func unrefer(ref uint64, bytes int64) {
	if ref>>slotBits != 0 {
		accounts.uncharge(ref, bytes)
	} else if ref != 0 {
		sites.sub(ref, bytes)
	}
}
