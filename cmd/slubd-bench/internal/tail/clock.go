package tail

import (
	"io"
	"math"
	"math/bits"
	"os"
	"strings"
	"sync"
	"time"
)

// Clock is what reads the time around a call: the CPU's time-stamp counter, or the clock of the
// operating system where there is none, or where its frequency isn't constant.
type Clock struct {
	TSC   bool
	Scale uint64 // nanoseconds of a tick, times 1<<32; a tick of the system's clock is one
}

// SystemClock is the operating system's clock, which every machine has.
var SystemClock = Clock{Scale: 1 << 32}

// Best returns the finest clock of this machine. The first call takes 20 ms, which are spent on
// comparing the time-stamp counter with the system's clock.
var Best = sync.OnceValue(func() Clock {
	if !hasTSC || !invariant(flags()) {
		return SystemClock
	}
	return calibrate(20 * time.Millisecond)
})

// flags returns the flags of the first CPU, as /proc/cpuinfo has them.
func flags() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 16<<10))
	if err != nil {
		return ""
	}
	_, text2, _ := strings.Cut(string(text), "\nflags")
	line, _, _ := strings.Cut(text2, "\n")
	return line
}

// invariant reports whether the time-stamp counter counts at one rate in all states of the CPU.
func invariant(flags string) bool {
	words := map[string]bool{}
	for _, w := range strings.Fields(flags) {
		words[w] = true
	}
	return words["constant_tsc"] && words["nonstop_tsc"]
}

// calibrate compares both clocks over d.
func calibrate(d time.Duration) Clock {
	begin, ticks := bothClocks()
	time.Sleep(d)
	end, n := bothClocks()
	if n -= ticks; n <= 0 {
		return SystemClock
	}
	return Clock{TSC: true, Scale: uint64(math.Round(float64(end-begin) / float64(n) * (1 << 32)))}
}

// bothClocks reads both clocks at about the same time: of some attempts, that in which the least
// passed between two readings of the system's clock, so that no time slice did.
func bothClocks() (ns, ticks int64) {
	least := int64(math.MaxInt64)
	for range 20 {
		before, n, after := SystemClock.now(), readTSC(), SystemClock.now()
		if after-before < least {
			least, ns, ticks = after-before, before, n
		}
	}
	return ns, ticks
}

// epoch is when the system's clock starts to count.
var epoch = time.Now()

// now returns the time in ticks. With the time-stamp counter, all instructions before it have
// ended, and none after it has begun.
func (c *Clock) now() int64 {
	if c.TSC {
		return readTSC()
	}
	return int64(time.Since(epoch))
}

// Nanoseconds converts ticks, which must not be negative.
func (c *Clock) Nanoseconds(ticks int64) int64 {
	high, low := bits.Mul64(uint64(ticks), c.Scale)
	return int64(high<<32 | low>>32)
}

// Ticks is the number of ticks in d.
func (c *Clock) Ticks(d time.Duration) int64 {
	return int64(math.Round(float64(d) / float64(c.Scale) * (1 << 32)))
}
