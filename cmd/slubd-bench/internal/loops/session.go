package loops

import (
	"fmt"
	"unsafe"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
)

// A worker is one thread's part of a run.
type worker struct {
	// loop executes n alloc+free pairs; it is called for warming up and again
	// inside the timed part.
	loop func(n int) error
	// stop frees what the worker keeps alive. Nil means nothing.
	stop func()
	// sum is the worker's part of the Sample's Checksum, complete after stop. Nil is
	// none.
	sum *uint64
	// times is how long each operation of loop's last call took, in ns, where that is
	// what counts. Nil is nowhere.
	times *[]int64
}

// An arm is one allocator made ready for one Spec.
type arm interface {
	// worker prepares one thread. h is shared by all threads of a run; where two make a
	// pair, the even one produces.
	worker(thread int, h *shared) (worker, error)
	// backdrop starts what has to go on beside the loops. The function it
	// returns ends that and reports extras.
	backdrop() (stop func() (map[string]float64, error))
	close() error
}

// A classer is an arm that can say what malloc-mix's sizes take.
type classer interface {
	classes() ([]workload.ClassBytes, error)
}

// Session is an opened allocator.
type Session struct{ arm arm }

// Open prepares alloc (workload.Slubd, Go or Pool; or a map, SyncMap or Sharded) for runs
// of s, whatever their number of operations.
func Open(alloc string, s workload.Spec) (*Session, error) {
	if s.Kind == workload.RCUMap {
		a, err := openMap(alloc, s)
		if err != nil {
			return nil, err
		}
		return &Session{a}, nil
	}
	open, ok := map[string]func(workload.Spec) (arm, error){
		workload.Slubd: openSlubd,
		workload.Go:    openHeap,
		workload.Pool:  openPool,
	}[alloc]
	if !ok {
		return nil, fmt.Errorf("no Go loops for allocator %q", alloc)
	}
	a, err := open(s)
	if err != nil {
		return nil, err
	}
	return &Session{a}, nil
}

// Close releases caches and pools. slubd reports leaked objects here.
func (s *Session) Close() error { return s.arm.close() }

// quiet is the backdrop of workloads that need none.
func quiet() func() (map[string]float64, error) {
	return func() (map[string]float64, error) { return nil, nil }
}

// noLoop reports a kind that an arm does not know.
func noLoop(alloc string, kind workload.Kind) error {
	return fmt.Errorf("%s has no loop for workload %s", alloc, kind)
}

// touch is the one store into every object, which C's alloc does too.
func touch(p unsafe.Pointer, value int) { *(*uint64)(p) = uint64(value) }
