package loops

import (
	"context"
	"errors"
	"fmt"
	"time"
	"unsafe"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/numa"
	"github.com/slubd/slubd/slub"
)

// Method is how a crossing frees its objects.
type Method string

const (
	ByFree     Method = "Free"
	ByFreeRCU  Method = "FreeRCU"
	ByFreeBulk Method = "FreeBulk"
)

// Methods returns all of them.
func Methods() []Method { return []Method{ByFree, ByFreeRCU, ByFreeBulk} }

// crossingBatch is how many objects a crossing allocates before it frees them: more than the
// sheaves of a CPU hold, so that slabs take part.
const crossingBatch = 4096

// Crossing is what a cell of -numa's matrix measures: objects are allocated on one CPU and freed on
// another. The CPUs take turns, so each has the time of its own work, and neither waits for the
// other while its clock runs.
type Crossing struct {
	AllocCPU, FreeCPU int
	Node              numa.Node // AllocNode's; NoNode: the objects come from Alloc
	Method            Method
	Size              int           // bytes
	Time              time.Duration // to measure for, both CPUs together
}

// Crossed has the figures of a Crossing.
type Crossed struct {
	AllocNs, FreeNs float64 // per object
	Objects         int     // number of objects that the kernel was asked about
	Remote          int     // those of them that are not where they should be
	Unknown         error   // why the kernel could not be asked
}

// Run measures one crossing, with a cache of its own. It ends after 20 times Time at the latest,
// where grace periods that are not measured take long.
func (x Crossing) Run() (r Crossed, err error) {
	c, err := slub.New(nil, slub.Config{Name: "bench-numa", Size: int64(x.Size)})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	alloc, free := startLane(x.AllocCPU), startLane(x.FreeCPU)
	defer alloc.close()
	defer free.close()

	objects := make([]unsafe.Pointer, crossingBatch)
	var allocTime, freeTime time.Duration
	batches := 0
	batch := func() error {
		took, err := alloc.time(func() error { return x.alloc(c, objects) })
		if err != nil {
			return err
		}
		freed, err := free.time(func() error { x.free(c, objects); return nil })
		if err != nil {
			return err
		}
		allocTime, freeTime, batches = allocTime+took, freeTime+freed, batches+1
		if x.Method == ByFreeRCU {
			// The next batch's memory then comes from a grace period, not from the arena.
			return c.Barrier(context.Background())
		}
		return nil
	}
	for range 2 { // to warm up
		if err := batch(); err != nil {
			return r, err
		}
	}
	allocTime, freeTime, batches = 0, 0, 0
	for end := time.Now().Add(20 * x.Time); batches == 0 || allocTime+freeTime < x.Time && time.Now().Before(end); {
		if err := batch(); err != nil {
			return r, err
		}
	}
	n := float64(batches * crossingBatch)
	r.AllocNs, r.FreeNs = float64(allocTime)/n, float64(freeTime)/n
	return r, x.ask(c, alloc, objects, &r)
}

// ask allocates another batch, asks the kernel where it is, and frees it.
func (x Crossing) ask(c *slub.Cache, alloc *lane, objects []unsafe.Pointer, r *Crossed) error {
	if _, err := alloc.time(func() error { return x.alloc(c, objects) }); err != nil {
		return err
	}
	r.Remote, r.Unknown = remote(objects, x.near(c.Arena().Topology()))
	if r.Unknown == nil {
		r.Objects = len(objects)
	}
	c.FreeBulk(objects)
	return nil
}

// alloc allocates a batch. After an error what was allocated is free.
func (x Crossing) alloc(c *slub.Cache, objects []unsafe.Pointer) error {
	for i := range objects {
		var p unsafe.Pointer
		var err error
		if x.Node == numa.NoNode {
			p, err = c.Alloc()
		} else {
			p, err = c.AllocNode(x.Node)
		}
		if err != nil {
			c.FreeBulk(objects[:i])
			return err
		}
		touch(p, i)
		objects[i] = p
	}
	return nil
}

func (x Crossing) free(c *slub.Cache, objects []unsafe.Pointer) {
	switch x.Method {
	case ByFree:
		for _, p := range objects {
			c.Free(p)
		}
	case ByFreeRCU:
		for _, p := range objects {
			c.FreeRCU(p)
		}
	case ByFreeBulk:
		for ; len(objects) > 0; objects = objects[min(len(objects), workload.BulkBatch):] {
			c.FreeBulk(objects[:min(len(objects), workload.BulkBatch)])
		}
	}
}

// near returns the condition for an object to be where it should be: on AllocNode's node, or on one
// of the nodes with memory that are nearest to the CPU.
func (x Crossing) near(t *numa.Topology) func(numa.Node) bool {
	if x.Node != numa.NoNode {
		return func(n numa.Node) bool { return n == x.Node }
	}
	return nearTo(t, x.AllocCPU)
}

// nearTo is the condition for the objects of a CPU. Several nodes may be equally near to one that
// has no memory.
func nearTo(t *numa.Topology, cpu int) func(numa.Node) bool {
	from, first := t.NodeOf(cpu), t.LocalNode(cpu)
	return func(n numa.Node) bool {
		return n == first || first != from && t.HasMemory(n) && t.Distance(from, n) == t.Distance(from, first)
	}
}

// remote asks the kernel on which nodes touched objects lie, and counts those that are not near.
func remote(objects []unsafe.Pointer, near func(numa.Node) bool) (n int, err error) {
	index := map[uintptr]int{}
	var pages []uintptr
	for _, p := range objects {
		page := uintptr(p) &^ (mem.PageSize - 1)
		if _, ok := index[page]; !ok {
			index[page] = len(pages)
			pages = append(pages, page)
		}
	}
	where, err := numa.Where(pages)
	if err != nil {
		return 0, err
	}
	for _, p := range objects {
		if node := where[index[uintptr(p)&^(mem.PageSize-1)]]; !near(node) {
			n++
		}
	}
	return n, nil
}

// lane is a goroutine that is pinned to a CPU, and runs what it is given.
type lane struct {
	work chan func() error
	done chan error
}

func startLane(cpu int) *lane {
	l := &lane{make(chan func() error), make(chan error)}
	go func() {
		unpin, err := pin(cpu)
		defer unpin()
		for work := range l.work {
			if err != nil {
				l.done <- fmt.Errorf("CPU %d: %w", cpu, err)
				continue
			}
			l.done <- work()
		}
		close(l.done)
	}()
	return l
}

// time runs f on the lane and returns how long it took.
func (l *lane) time(f func() error) (took time.Duration, err error) {
	l.work <- func() error {
		begin := time.Now()
		err := f()
		took = time.Since(begin)
		return err
	}
	err = <-l.done
	return took, err
}

// close ends the lane and waits until its thread is free.
func (l *lane) close() {
	close(l.work)
	<-l.done
}
