package percpu

import (
	"bytes"
	"fmt"

	"github.com/slubd/slubd/internal/mem"
)

// rseqOffset leads from the thread pointer to the thread's struct rseq, in bytes.
// Written once, by newRseq, before any sequence runs, like the descriptors, which lie
// in the program's data: the kernel may read them at any later interruption, and the
// sequences name them by their addresses, without a load.
var (
	//lint:ignore U1000 read by the assembly
	rseqOffset uintptr

	popRegisterCS, freeRegisterCS, popStackCS, pushStackCS, lockStackCS section
	enterReadersCS, exitReadersCS                                       section
)

// section is struct rseq_cs of <linux/rseq.h>, version 0.
type section struct {
	_      [2]uint32 // version and flags, both 0
	start  uint64    // first instruction
	length uint64    // bytes up to the end of the committing instruction
	abort  uint64    // where the kernel resumes an interrupted sequence
}

// The bytes that rseq_linux_amd64.s marks a sequence with.
var (
	markArm    = []byte{0x64, 0x4d, 0x89, 0x48, 0x08}
	markCommit = []byte{0x05, 0x0c, 0xab, 0x51} // two bytes behind the commit
	markAbort  = []byte{0x53, 0x30, 0x05, 0x53} // the kernel's signature
	markEnd    = []byte{0x0d, 0x0e, 0xab, 0x51}
)

// maxCode bounds a sequence's function in bytes; the longest is near 150.
const maxCode = 512

// findSection derives the descriptor of the sequence whose function starts at pc.
// It refuses code in which a mark is missing or ambiguous, or out of order.
func findSection(pc uintptr) (section, error) {
	code := mem.Bytes(pc, maxCode)
	end := bytes.Index(code, markEnd)
	if end < 0 {
		return section{}, fmt.Errorf("sequence at %#x: no end mark within %d bytes", pc, maxCode)
	}
	at := func(mark []byte) (uint64, error) {
		if n := bytes.Count(code[:end], mark); n != 1 {
			return 0, fmt.Errorf("sequence at %#x: mark % x occurs %d times", pc, mark, n)
		}
		return uint64(pc) + uint64(bytes.Index(code[:end], mark)), nil
	}
	arm, err := at(markArm)
	if err != nil {
		return section{}, err
	}
	commit, err := at(markCommit)
	if err != nil {
		return section{}, err
	}
	abort, err := at(markAbort)
	if err != nil {
		return section{}, err
	}
	s := section{start: arm + uint64(len(markArm)), abort: abort + uint64(len(markAbort))}
	s.length = commit - 2 - s.start
	if commit-2 <= s.start || abort <= commit {
		return section{}, fmt.Errorf("sequence at %#x: marks out of order", pc)
	}
	return s, nil
}

// installSections writes the descriptors.
func installSections() error {
	into := [...]*section{&popRegisterCS, &freeRegisterCS, &popStackCS, &pushStackCS, &lockStackCS, &enterReadersCS, &exitReadersCS}
	for i, pc := range codes().sequences() {
		s, err := findSection(pc)
		if err != nil {
			return err
		}
		*into[i] = s
	}
	return nil
}
