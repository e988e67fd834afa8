package runner

import (
	"fmt"
	"regexp"
	"slices"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// Case is a workload with the parameters of one row of the table.
type Case struct {
	Workload workload.Workload
	Spec     workload.Spec // without a number of operations
}

// String names the case for progress and errors.
func (c Case) String() string {
	return fmt.Sprintf("%s, threads %d, size %d", c.Workload.Name, c.Spec.Threads, c.Spec.Size)
}

// Choice selects and parametrizes workloads.
type Choice struct {
	Run     *regexp.Regexp // of workload names; nil is all
	Threads []int
	Sizes   []int // bytes
	Live    int   // objects of gc and gc-linked, ten for each of gc-map's keys
	Seed    uint64
}

// Plan lists the cases that a choice asks for, in the catalogue's order.
func Plan(ch Choice) []Case {
	var cases []Case
	for _, w := range workload.Catalog() {
		if ch.Run != nil && !ch.Run.MatchString(w.Name) {
			continue
		}
		for _, threads := range threadsFor(w, ch.Threads) {
			for _, size := range sizesFor(w, ch.Sizes) {
				spec := w.Spec(threads, size, ch.Seed)
				switch w.Kind {
				case workload.GC, workload.GCLinked:
					spec.Live = ch.Live
				case workload.GCMap:
					spec.Live = max(1, ch.Live/10)
				}
				cases = append(cases, Case{w, spec})
			}
		}
	}
	return cases
}

// threadsFor narrows a list of thread numbers to those that mean something
// for w: some work in pairs, whole heaps have one thread.
func threadsFor(w workload.Workload, asked []int) []int {
	switch {
	case w.WholeHeap() || w.Kind.ByPeriod():
		return []int{1}
	case w.Kind.Paired():
		even := slices.DeleteFunc(slices.Clone(asked), func(n int) bool { return n%2 != 0 })
		if len(even) == 0 {
			even = []int{2}
		}
		return even
	}
	return asked
}

// sizesFor is the same for object sizes. Who draws sizes of its own has 0.
func sizesFor(w workload.Workload, asked []int) []int {
	switch {
	case w.WholeHeap() || w.Kind == workload.RCURead || w.Kind == workload.RCUEnter || w.Kind.ByPeriod():
		return []int{workload.HeapSize}
	case w.Kind == workload.CacheScratch || w.Kind == workload.CacheThrash:
		return []int{workload.CacheSize}
	case w.Kind.Sizes() != nil:
		return []int{0}
	}
	return asked
}
