package percpu

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"github.com/slubd/slubd/internal/sys"
)

// engine holds the operations in which the two engines differ.
type engine struct {
	name       string
	area       ThreadArea              // zero under trylock
	lock       func(slots uintptr) int // TryLock; the CPU, or -1
	lockNoWait func(slots uintptr) int // the same without a system call
	fence      func(cpu int)           // TryLockCPU's second half
	cpu        func() int              // a hint which CPU the caller runs on; may be negative
	cpuNow     func() int              // the same, by a system call where there is no better way
	initPop    func(p *Pop)            // its slots and slow path are set
	initFree   func(f *Free)           // its filter and slow path are set
	readers    bool                    // Readers are sequences

	initPopBySize   func(p *PopBySize) // their slow paths are set
	initFreeByOwner func(f *FreeByOwner)

	initSliceBySize      func(p *SliceBySize) // theirs as well
	initFreeSliceByOwner func(f *FreeSliceByOwner)

	// Nil where there is no sequence; see makePopZero and makePopByNode.
	initPopZero   func(p *PopZero)
	initFreeZero  func(f *FreeZero)
	initPopByNode func(p *PopByNode)

	initFreeByOwnerZero func(f *FreeByOwner) // nil as well; all but its code is set

	// Nil as well; see HasMarked.
	initPopMarked         func(p *PopMarked)
	initFreeMarked        func(f *FreeMarked)
	initPopBySizeMarked   func(p *PopBySize) // all but their code is set
	initFreeByOwnerMarked func(f *FreeByOwner)
}

// current is the engine of this process; why is what Reason says of it.
var current, why = choose(os.Getenv("SLUBD_ENGINE"))

// Engine names the engine in use: "rseq" or "trylock".
func Engine() string { return current.name }

// Reason says why Engine isn't rseq, or in which reduced form it is; "" when
// there is nothing to say.
func Reason() string { return why }

// A ThreadArea says how threads are registered for restartable sequences.
type ThreadArea struct {
	Owner string // sys.OwnerLibc or sys.OwnerSlubd
	Mode  string // ModeLegacy or ModeV2
}

// The modes of a thread's registration. Before Linux 7.1 the kernel does the same in both.
const (
	ModeLegacy = "legacy" // registered with sys.RseqOriginalSize bytes
	ModeV2     = "v2"     // registered with more, as AT_RSEQ_FEATURE_SIZE says
)

// areaOf describes areas of that size.
func areaOf(owner string, size uint32) ThreadArea {
	if size > sys.RseqOriginalSize {
		return ThreadArea{owner, ModeV2}
	}
	return ThreadArea{owner, ModeLegacy}
}

// Area describes the registration of threads. It is that of the first thread, which the kernel
// answers as all others; zero under the trylock engine.
func Area() ThreadArea { return current.area }

// CPU returns the number of the CPU that the caller runs on, between 0 and NumCPU()-1. The caller
// may have moved by the time it looks at the number. Under the trylock engine, where no instruction
// tells the CPU, it is the one where the caller's P was last found, see CPUNow.
func CPU() int {
	if cpu := current.cpu(); cpu >= 0 && cpu < NumCPU() {
		return cpu
	}
	return 0
}

// CPUNow is CPU for callers that are about to ask for objects of the CPU's node, or to give some
// back. Where neither the engine nor an instruction tells the CPU it makes a system call, and CPU
// tells the same from then on.
func CPUNow() int {
	if cpu := current.cpuNow(); cpu >= 0 && cpu < NumCPU() {
		return cpu
	}
	return 0
}

// errOptIn is the reason where rseq has to be asked for.
var errOptIn = errors.New("restartable sequences for " + runtime.GOARCH + " have not run on hardware: SLUBD_ENGINE=rseq asks for them")

// choose picks the best engine that works here, or the one that forced names. A forced engine that
// doesn't work is reported and replaced, since a daemon must start.
func choose(forced string) (engine, string) {
	if forced == "trylock" {
		return newTrylock(), "SLUBD_ENGINE=trylock"
	}
	if optIn && forced != "rseq" && forced != "rseq-abi0" {
		return newTrylock(), errOptIn.Error()
	}
	e, err := newRseq()
	if err == nil {
		err = selfTest(e)
	}
	if err != nil {
		return newTrylock(), err.Error()
	}
	if forced == "rseq-abi0" {
		return e, "SLUBD_ENGINE=rseq-abi0"
	}
	fast := withRegisters(e)
	if err := errors.Join(selfTest(fast), selfTestChoice(fast), selfTestSlices(fast), selfTestZero(fast),
		selfTestNode(fast), selfTestMarked(fast)); err != nil {
		return e, "register calls: " + err.Error()
	}
	if forced != "" && forced != "rseq" {
		return fast, fmt.Sprintf("SLUBD_ENGINE=%q is not rseq, rseq-abi0 or trylock", forced)
	}
	return fast, ""
}
