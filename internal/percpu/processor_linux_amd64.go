package percpu

import (
	"bytes"
	"encoding/binary"

	"github.com/klauspost/cpuid/v2"
)

// maxCPUs bounds the numbers that any kernel gives to CPUs: the largest NR_CPUS that Linux can be
// built with for amd64.
const maxCPUs = 8192

// optIn says that the rseq engine runs only where SLUBD_ENGINE asks for it.
const optIn = false

// hasAVX and hasAVX512 say that sequences may use registers of 32 and of 64 bytes: the processor
// has them, and the kernel saves them. For those of 64 bytes see supports512. Written once, by
// newRseq.
var hasAVX, hasAVX512 bool

// supports512 reports whether the processor has registers of 64 bytes, and doesn't slow down while
// they are used, as the first that had them do: VBMI2 is as new as that.
func supports512() bool {
	return cpuid.CPU.Supports(cpuid.AVX512F, cpuid.AVX512DQ, cpuid.AVX512VBMI2)
}

func newRseq() (engine, error) {
	hasAVX, hasAVX512 = cpuid.CPU.Supports(cpuid.AVX), supports512()
	return newSequences()
}

// The marks of a sequence. Their bytes are no part of the instructions beside them.
const (
	commitMark = 0x51ab0c05
	signature  = 0x53053053 // the kernel's
	endMark    = 0x51ab0e0d
)

var (
	markArm    = []byte{0x64, 0x4d, 0x89, 0x48, offsetCS} // ARM
	markCommit = mark(commitMark)
	markAbort  = mark(signature)
	markEnd    = mark(endMark)

	// opcodes are the bytes that may stand between a commit and its mark, all of one length: MOVL
	// to R11, or RET and NOP.
	opcodes = [][]byte{{0x41, 0xbb}, {0xc3, 0x90}}
)

// endOfCommit returns where a commit ends, if code is what leads up to its mark.
func endOfCommit(code []byte) (end int, ok bool) {
	for _, o := range opcodes {
		if bytes.HasSuffix(code, o) {
			return len(code) - len(o), true
		}
	}
	return 0, false
}

func mark(n uint32) []byte { return binary.LittleEndian.AppendUint32(nil, n) }
