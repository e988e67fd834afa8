package lazytimer

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/slubd/slubd/internal/testutil"
)

// within waits for what the timer brings about.
func within(t *testing.T, what string, done func() bool) {
	t.Helper()
	for start := time.Now(); !done(); time.Sleep(50 * time.Microsecond) {
		if time.Since(start) > 10*time.Second {
			t.Fatalf("lost wake-up: %s never happens", what)
		}
	}
}

// kinds are timers that empty a counter of waiting work. atLook is called when a run has looked.
var kinds = map[string]func(t *Timer, work *atomic.Int64, atLook func()){
	"overlapping": func(t *Timer, work *atomic.Int64, atLook func()) {
		t.Init(func() { work.Store(0); atLook() })
	},
	"exclusive": func(t *Timer, work *atomic.Int64, atLook func()) {
		t.InitExclusive(func() time.Duration { work.Store(0); atLook(); return 0 },
			func() bool { return work.Load() > 0 }, time.Microsecond)
	},
}

// TestArrivalDuringRun: work that arrives when a run has already looked gets another run, without
// a further arrival.
func TestArrivalDuringRun(t *testing.T) {
	for name, start := range kinds {
		t.Run(name, func(t *testing.T) {
			var timer Timer
			var work, runs atomic.Int64
			looked, arrived := make(chan bool), make(chan bool)
			start(&timer, &work, func() {
				if runs.Add(1) == 1 {
					looked <- true
					<-arrived
				}
			})
			work.Store(1)
			timer.Arm(time.Microsecond)
			<-looked
			work.Store(1)
			timer.Arm(time.Microsecond)
			arrived <- true
			within(t, "a run after the second arrival", func() bool { return work.Load() == 0 && runs.Load() == 2 })
			within(t, "rest", func() bool { return !timer.Armed() })
		})
	}
}

// TestStressNoArrivalIsMissed: goroutines add work and arm the timer at random moments of its
// runs, then all stop. What is left must be found without them.
func TestStressNoArrivalIsMissed(t *testing.T) {
	for name, start := range kinds {
		t.Run(name, func(t *testing.T) {
			var timer Timer
			var work atomic.Int64
			start(&timer, &work, runtime.Gosched)
			for range testutil.Stress(t, 500) {
				var arrivals sync.WaitGroup
				for range 3 {
					arrivals.Go(func() {
						work.Add(1)
						timer.Arm(time.Microsecond)
					})
				}
				arrivals.Wait()
				within(t, "the end of the work", func() bool { return work.Load() == 0 })
			}
		})
	}
}

// TestExclusiveRuns: an exclusive run is never beside another one, and comes again after the rest
// that it asks for.
func TestExclusiveRuns(t *testing.T) {
	var timer Timer
	var inside, runs atomic.Int64
	timer.InitExclusive(func() time.Duration {
		if inside.Add(1) != 1 {
			t.Error("two runs at once")
		}
		time.Sleep(100 * time.Microsecond)
		inside.Add(-1)
		if runs.Add(1) < 20 {
			return time.Microsecond
		}
		return 0
	}, func() bool { return false }, time.Microsecond)
	for runs.Load() < 20 {
		timer.Arm(0)
		runtime.Gosched()
	}
	within(t, "rest", func() bool { return !timer.Armed() })
}

// TestArmOnce: an armed timer is not put off by further arrivals.
func TestArmOnce(t *testing.T) {
	var timer Timer
	ran := make(chan bool, 1)
	timer.Init(func() { ran <- true })
	timer.Arm(time.Millisecond)
	timer.Arm(time.Hour)
	select {
	case <-ran:
	case <-time.After(10 * time.Second):
		t.Error("a second arrival has put the timer off")
	}
}

// TestStop: a stopped timer doesn't run, and can be armed again.
func TestStop(t *testing.T) {
	var timer Timer
	var runs atomic.Int64
	timer.Init(func() { runs.Add(1) })
	timer.Arm(50 * time.Millisecond)
	for !timer.Stop() { // the machine has stood still for that long
		timer.Arm(50 * time.Millisecond)
	}
	before := runs.Load()
	if timer.Armed() {
		t.Error("armed after Stop")
	}
	time.Sleep(100 * time.Millisecond)
	if n := runs.Load(); n != before {
		t.Errorf("%d runs after Stop", n-before)
	}
	timer.Arm(0)
	within(t, "a run", func() bool { return runs.Load() == before+1 })
}

// TestRunEndsItsGoroutine: a run that ends its goroutine, as a destructor may, prevents no other.
func TestRunEndsItsGoroutine(t *testing.T) {
	var timer Timer
	var runs atomic.Int64
	timer.Init(func() { runs.Add(1); runtime.Goexit() })
	for want := int64(1); want <= 3; want++ {
		timer.Arm(0)
		within(t, "a run", func() bool { return runs.Load() == want })
	}
}
