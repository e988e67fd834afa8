package percpu

import (
	"encoding/binary"
	"time"

	"github.com/slubd/slubd/internal/sys"
)

// maxCPUs bounds the numbers that any kernel gives to CPUs: the largest NR_CPUS that Linux can be
// built with for arm64.
const maxCPUs = 4096

// optIn says that the rseq engine runs only where SLUBD_ENGINE asks for it: the sequences have run
// on emulators alone, which keep memory accesses in order.
const optIn = true

// preemptionLimit bounds the self-test at start-up, where the machine is busy.
const preemptionLimit = 5 * time.Second

// newRseq prepares the rseq engine, unless the kernel lets a sequence go on that another thread has
// interrupted.
func newRseq() (engine, error) {
	e, err := newSequences()
	if err == nil {
		err = selfTestPreemption(preemptionLimit, sys.SleepAndStore)
	}
	if err != nil {
		return engine{}, err
	}
	return e, nil
}

// The marks of a sequence. The commit's is an instruction without effect, MOVZ to the zero
// register, and is executed where the sequence goes on behind its commit. The signature is an
// undefined BRK, which the kernel and libc have chosen.
const (
	commitMark = 0xd28a357f
	signature  = 0xd428bc00
	endMark    = 0xd281c1bf
)

var (
	markArm    = mark(storeDouble | uint32(offsetCS)/8<<10 | 8<<5 | 9) // ARM
	markCommit = mark(commitMark)
	markAbort  = mark(signature)
	markEnd    = mark(endMark)
)

// Instructions, with zeroes for registers and offsets.
const (
	storeDouble  = 0xf9000000 // STR Xt, [Xn, #offset]
	storeRelease = 0xc89ffc00 // STLR Xt, [Xn]
	returnToLR   = 0xd65f03c0 // RET
)

// endOfCommit returns where a commit ends, if code is what leads up to its mark: one store of 64
// bits, and perhaps a RET. The assembler may make several instructions of one; here it must not.
func endOfCommit(code []byte) (end int, ok bool) {
	word := func() uint32 {
		if end < 4 {
			return 0
		}
		return binary.LittleEndian.Uint32(code[end-4:])
	}
	end = len(code)
	if word() == returnToLR {
		end -= 4
	}
	w := word()
	return end, w&0xffc00000 == storeDouble || w&0xfffffc00 == storeRelease
}

func mark(n uint32) []byte { return binary.LittleEndian.AppendUint32(nil, n) }
