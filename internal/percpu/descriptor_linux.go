//go:build amd64 || arm64

package percpu

import (
	"bytes"
	"fmt"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
)

// rseqOffset is the distance from the thread pointer to the thread's struct rseq, in bytes. Like
// the descriptors it is written once, by newRseq, before any sequence runs. The descriptors lie in
// the program's data: the kernel may read them at any later interruption, and the sequences name
// them by their addresses, without a load.
var (
	//lint:ignore U1000 read by the assembly
	rseqOffset uintptr

	popRegisterCS, freeRegisterCS, popStackCS, pushStackCS, lockStackCS descriptor
	popBySizeCS, freeByOwnerCS, enterReadersCS, exitReadersCS           descriptor
	popZeroCS, freeZeroCS, popByNodeCS, sliceBySizeCS, freeSliceCS      descriptor

	popMarkedCS, freeMarkedCS, popMarkedBySizeCS, freeMarkedByOwnerCS descriptor
	freeZeroByOwnerCS                                                 descriptor

	spinCS descriptor
)

// rseq is struct rseq of <linux/rseq.h>, as far as the assembly uses it.
//
//lint:ignore U1000 for its offsets
type rseq struct {
	cpuStart, cpu uint32 // cpu is -1 on a thread that isn't registered, -2 on one that couldn't be
	cs            uint64 // address of the descriptor
}

// descriptor is struct rseq_cs of <linux/rseq.h>, version 0.
type descriptor struct {
	_      [2]uint32 // version and flags, both 0
	start  uint64    // first instruction
	length uint64    // bytes up to the end of the committing instruction
	abort  uint64    // where the kernel resumes an interrupted sequence
}

// offsetCS is where the address of the descriptor lies in struct rseq, in bytes.
const offsetCS = byte(unsafe.Offsetof(rseq{}.cs))

// maxCode bounds a sequence's function in bytes; the longest is near 1500.
const maxCode = 2048

// findDescriptor derives the descriptor of the sequence whose function starts at pc. It refuses
// code in which a mark is missing, ambiguous or out of order.
func findDescriptor(pc uintptr) (descriptor, error) {
	code := mem.Bytes(pc, maxCode)
	end := bytes.Index(code, markEnd)
	if end < 0 {
		return descriptor{}, fmt.Errorf("sequence at %#x: no end mark within %d bytes", pc, maxCode)
	}
	code = code[:end]
	var at [3]int
	for i, mark := range [...][]byte{markArm, markCommit, markAbort} {
		if n := bytes.Count(code, mark); n != 1 {
			return descriptor{}, fmt.Errorf("sequence at %#x: mark % x occurs %d times", pc, mark, n)
		}
		at[i] = bytes.Index(code, mark)
	}
	if at[1] <= at[0]+len(markArm) || at[2] <= at[1] {
		return descriptor{}, fmt.Errorf("sequence at %#x: marks out of order", pc)
	}
	commit, ok := endOfCommit(code[:at[1]])
	if !ok {
		return descriptor{}, fmt.Errorf("sequence at %#x: % x is in front of the commit's mark", pc, code[max(0, at[1]-8):at[1]])
	}
	start, abort := at[0]+len(markArm), at[2]+len(markAbort)
	if commit <= start {
		return descriptor{}, fmt.Errorf("sequence at %#x: nothing between arming and commit", pc)
	}
	return descriptor{
		start:  uint64(pc) + uint64(start),
		length: uint64(commit - start),
		abort:  uint64(pc) + uint64(abort),
	}, nil
}

// installDescriptors writes the descriptors of all sequences.
func installDescriptors() error {
	for _, s := range codes().sequences() {
		d, err := findDescriptor(s.code)
		if err != nil {
			return err
		}
		*s.descriptor = d
	}
	return nil
}
