package runner

import (
	"fmt"
	"regexp"
	"runtime"
	"slices"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/replay"
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

// Choice selects workloads and their parameters.
type Choice struct {
	Run     *regexp.Regexp // matches workload names; nil: the default suite
	Threads []int
	Sizes   []int // bytes
	Live    int   // objects of gc and gc-linked, ten for each of gc-map's keys
	Seed    uint64
	CPUs    []int // what threads are pinned to, in this order; none: they are not pinned
	Chunks  bool  // whether to look at the clock often, for workload.Tail
	// Traces are cycles to replay, by file. Without Run nothing else runs beside them.
	Traces []Trace
}

// Trace is a trace that was read.
type Trace struct {
	File string // absolute, for child processes
	*replay.Replay
}

// Has reports whether a workload is one of those chosen.
func (ch Choice) Has(w workload.Workload) bool {
	if ch.Run == nil && (!w.Default || len(ch.Traces) > 0) || ch.Run != nil && !ch.Run.MatchString(w.Name) {
		return false
	}
	return !ch.Chunks || w.Kind.Scales()
}

// Plan returns the cases of a choice, in the order of the catalogue.
func Plan(ch Choice) []Case {
	var cases []Case
	for _, w := range workload.Catalog() {
		if !ch.Has(w) {
			continue
		}
		for _, threads := range threadsFor(w, ch.Threads) {
			for _, size := range sizesFor(w, ch.Sizes) {
				spec := w.Spec(threads, size, ch.Seed)
				if !w.Kind.WholeHeap() && !w.Kind.OnNodes() {
					spec.CPUs = ch.CPUs
				}
				if ch.Chunks {
					spec = spec.WithChunks()
				}
				switch w.Kind {
				case workload.GC, workload.GCLinked:
					spec.Live = ch.Live
				case workload.GCMap:
					spec.Live = max(1, ch.Live/10)
				}
				cases = append(cases, Case{Workload: w, Spec: spec})
			}
		}
	}
	for _, t := range ch.Traces {
		cases = append(cases, t.cases(ch)...)
	}
	return cases
}

// cases are those of a trace: each thread replays all of it.
func (t Trace) cases(ch Choice) (cases []Case) {
	w := workload.OfTrace(t.File)
	for _, threads := range ch.Threads {
		spec := w.Spec(threads, 0, ch.Seed)
		spec.Batch, spec.Live, spec.CPUs = t.Pairs(), t.Objects, ch.CPUs
		if ch.Chunks {
			spec = spec.WithChunks()
		}
		cases = append(cases, Case{Workload: w, Spec: spec})
	}
	return cases
}

// threadsFor narrows a list of thread numbers to those that w can have: a multiple of two where
// threads work in pairs, one for whole heaps, grace periods and nodes, the most that were asked for
// where each call is timed, if a disturbing goroutine has a CPU of its own beside them.
func threadsFor(w workload.Workload, asked []int) []int {
	switch {
	case w.Kind.WholeHeap() || w.Kind.ByPeriod() || w.Kind.OnNodes():
		return []int{1}
	case w.Kind == workload.TailCross:
		return []int{max(2, slices.Max(asked)&^1)}
	case w.Disturb != "":
		return []int{max(1, min(slices.Max(asked), runtime.GOMAXPROCS(0)-1))}
	case w.Kind.ByTail():
		return []int{slices.Max(asked)}
	case w.Kind.Paired():
		even := slices.DeleteFunc(slices.Clone(asked), func(n int) bool { return n%2 != 0 })
		if len(even) == 0 {
			even = []int{2}
		}
		return even
	}
	return asked
}

// sizesFor does the same for object sizes. A workload that draws its sizes has the size 0.
func sizesFor(w workload.Workload, asked []int) []int {
	switch {
	case w.Kind.WholeHeap() || w.Kind.BySection() || w.Kind.ByPeriod():
		return []int{workload.HeapSize}
	case w.Kind == workload.CacheScratch || w.Kind == workload.CacheThrash:
		return []int{workload.CacheSize}
	case w.Kind == workload.Large:
		return workload.LargeSizes()
	case w.Kind.Sizes() != nil:
		return []int{0}
	}
	return asked
}
