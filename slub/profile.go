package slub

import (
	"time"

	"github.com/slubd/slubd/numa"
)

// A ProfileRecord says what has been allocated at one call site, from one cache and on one node. It
// is an estimate: each sample stands for as many objects as were allocated for it, on average.
type ProfileRecord struct {
	// Stack has the return addresses, for runtime.CallersFrames. Functions of this package come
	// first. It is empty in the record for everything behind the first 16,384 sites.
	Stack []uintptr
	// Cache is the name of the cache, also of a size class of Buckets; for page runs and mappings
	// it is the Buckets' name and "-large". Group and Tag are the Config's, "" for none.
	Cache, Group, Tag string
	// Size of an object in bytes; of large ones the next of eight steps between powers of two.
	Size int64
	Node numa.Node

	AllocObjects, AllocBytes int64 // ever allocated
	InUseObjects, InUseBytes int64 // not free yet; see ReadProfile
}

// ReadProfile returns what is known of allocations that were sampled in this process: those of all
// caches and Buckets, closed ones included, unless their ProfileRate is None or SLUBD_PROFILE_RATE
// is 0. Bytes are those of an object's slot, or of a large object's pages. An object is in use
// until its memory can serve another allocation: after FreeRCU until its grace period is over,
// after FreeDeferred until the list is drained.
//
// The objects of a Prefilled are allocated where Prefill or Refill was called, those that it still
// has when it is returned included. An object that Prefilled.Free has put back is not sampled when
// it is taken again. Not sampled are objects of AllocNoWait and MallocNoWait, which must not wait
// for the slab that a sample takes.
//
// Package slub/profile writes the records as a file for go tool pprof. Any goroutine. It costs some
// hundred nanoseconds for each record, and allocates Go memory.
func ReadProfile() []ProfileRecord {
	var records []ProfileRecord
	for s := range samples.Sites() {
		records = append(records, ProfileRecord{Stack: s.Stack, Cache: s.Cache, Group: s.Group, Tag: s.Tag, Size: s.Size, Node: numa.Node(s.Node),
			AllocObjects: s.AllocObjects(), AllocBytes: s.AllocBytes(), InUseObjects: s.InUseObjects(), InUseBytes: s.InUseBytes()})
	}
	return records
}

// ProfileDropped returns how many allocations should have been sampled and were not, since memory
// was near a limit, there were 131,072 samples in use, or the allocation was one that must not
// wait, by AllocNoWait or MallocNoWait. Any goroutine.
func ProfileDropped() int64 { return samples.Dropped() }

// ProfileRate returns the process's automatic Config.ProfileRate, 0 for none. Any goroutine.
func ProfileRate() int64 { return processProfileRate() }

// A SampledObject is an object in use that was sampled.
type SampledObject struct {
	Stack []uintptr // as in ProfileRecord
	Since time.Time // when it was allocated
}

// Sampled returns what the profile knows of the object at p, which its caller holds: where and when
// it was allocated. ok is false if it was not sampled. Any goroutine.
func (o OwnerInfo) Sampled() (s SampledObject, ok bool) {
	return sampledAt(o.Addr)
}

func sampledAt(addr uintptr) (s SampledObject, ok bool) {
	sample, ok := samples.At(addr)
	if !ok {
		return SampledObject{}, false
	}
	return SampledObject{Stack: sample.Site.Stack, Since: sample.Since}, true
}
