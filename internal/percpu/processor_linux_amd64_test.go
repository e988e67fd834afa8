package percpu

import "slices"

// Commits with their marks: as the assembly has them, without anything in front, and one whose
// opcode is of another length.
var (
	goodCommits = [][]byte{slices.Concat(opcodes[0], markCommit), slices.Concat(opcodes[1], markCommit)}
	emptyCommit = goodCommits[0]
	badCommit   = slices.Concat([]byte{0x49, 0xc7, 0xc3}, markCommit)
)
