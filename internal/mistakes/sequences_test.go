package mistakes

// sequences are mistakes in the sequences that do more than a pop or a push, and in what uses them.
var sequences = []mistake{
	{"ForeignCleared", "a free clears an object before it has checked which cache owns it",
		test{pkg: "internal/percpu", pattern: `^TestZero$`}, `other bytes were cleared`, `
internal/percpu/zero_linux_amd64.s
-	CMPL DI, FreeZero_own(DX)
-	JNE  slow
`},
	{"ClearedTooLate", "a free clears the object when it is on the stack already",
		test{pkg: "internal/percpu", pattern: `^TestStressZero$/^rseq$`}, `of an object (in use is 0x0|is not cleared)`, `
internal/percpu/zero_linux_amd64.s
-	MOVQ AX, DI
-	MOVQ (FreeZero_zero+zeroRange_n)(DX), SI
-	ZERO(SI)
 	MOVL R10, CX
 	SEQUENCE(·freeZeroCS)
 	PUSH_BODY(FILTER(Filter_slots))
-	COMMITTED_RET
+	COMMITTED
+	MOVQ AX, DI
+	MOVQ (FreeZero_zero+zeroRange_n)(DX), SI
+	ZERO(SI)
+	RET
`},
	{"PoppedInUse", "an allocation of a hardened cache takes an object that has an owner",
		test{pkg: "internal/percpu", pattern: `^TestMarked$/^rseq$`}, `was not treated as its mark`, `
internal/percpu/marked_linux_amd64.s
-	CMPB (R12), $const_MarkInUse; \
-	JEQ  slow; \
 	MOVQ MARKED_MARKS(ObjectMarks_clear), CX; \
`},
	{"DirtyPopped", "an allocation of a hardened cache does not look at what was written to a free object",
		test{pkg: "internal/percpu", pattern: `^TestMarked$/^rseq$`}, `was not treated as its mark`, `
internal/percpu/marked_linux_amd64.s
-	JZ   zero; \
+	JMP  zero; \
 	ALL_ZERO \
`},
	{"WrongPopped", "an allocation of a hardened cache takes whatever lies in a sheaf for an object",
		test{pkg: "internal/percpu", pattern: `^TestMarked$/^rseq$`}, `was not treated as its mark|fault`, `
internal/percpu/marked_linux_amd64.s
-	IS_OBJECT; \
`},
	{"PushedUnclaimed", "a free of a hardened cache looks at the mark in its sequence, and leaves it as it is",
		test{pkg: "internal/percpu", pattern: `^TestMarked$/^rseq$`}, `was not treated as its mark`, `
internal/percpu/marked_linux_amd64.s
-	MOVL $const_MarkFree, R9; \
+	MOVL $const_MarkInUse, R9; \
`},
	{"ClaimedInSteps", "a free of a hardened cache compares the mark and changes it in two steps",
		test{pkg: "slub", pattern: `^TestHardenedFreesAtOnce$`}, `reports after`, `
internal/percpu/marked_linux_amd64.s
-	LOCK; \
`},
	{"OtherNodePopped", "AllocNode takes an object of another node that a refill has brought",
		test{pkg: "internal/percpu", pattern: `^TestPopByNode$`}, `of another node was popped`, `
internal/percpu/node_linux_amd64.s
-	CMPQ R12, DI
-	JNE  slow
`},
	{"HeldPoppedByNode", "AllocNode compares the owner word of a stack, and not whether it is held",
		test{pkg: "internal/percpu", pattern: `^TestStressByNode$/^rseq$`}, `two owners|objects are on the stacks|counted|is there twice|unexpected fault address`, `
internal/percpu/node_linux_amd64.s
-	CMPQ DI, Stack_gate(R10)
-	JNE  slow
-	MOVQ Stack_head(R10), SI
-	MOVWLZX SI, R12
-	MOVQ Stack_objs(R10), R11
-	TESTL R12, R12
-	JZ   slow
-	MOVQ -PTR(R11)(R12*PTR), AX
-	MOVQ AX, R11
+	MOVQ Stack_gate(R10), SI
+	SHRQ $const_ownShift, SI
+	BTRL $30, SI
+	SHLQ $const_ownShift, SI
+	CMPQ DI, SI
+	JNE  slow
+	MOVQ Stack_head(R10), SI
+	MOVWLZX SI, R12
+	MOVQ Stack_objs(R10), R11
+	TESTL R12, R12
+	JZ   slow
+	MOVQ -PTR(R11)(R12*PTR), AX
+	MOVQ AX, R11
`},
	{"DueIgnored", "a pop doesn't look whether its stack is due",
		test{pkg: "internal/percpu", pattern: `^TestDue$/^rseq$`}, `Pop: \d+ pops and \d+ pushes`, `
internal/percpu/rseq_linux_amd64.s
 #include "rseq_linux_amd64.h"
+#define JGE JOS // on overflow, which there is never
`},
	{"RoomOfFineStep", "Bytes looks up the room of a large slice among the small ones",
		test{pkg: "internal/percpu", pattern: `^TestSelfTestSlices$`}, `another stack was chosen`, `
internal/percpu/slice_linux_amd64.s
-	MOVWLZX (const_fineStacks*ROOM)(R13)(DI*ROOM), R13
+	MOVWLZX (R13)(DI*ROOM), R13
`},
	{"EmptySliceFreed", "FreeBytes frees the object that a slice without capacity begins at",
		test{pkg: "internal/percpu", pattern: `^TestSelfTestSlices$`}, `another stack was chosen`, `
internal/percpu/slice_linux_amd64.s
-	TESTQ CX, CX
-	JZ   slow
`},
	{"PushSampled", "a pop is sampled because a push before it was picked",
		test{pkg: "sheaves", pattern: `^TestSamplesEverySite$`}, `allocations sampled, want`, `
sheaves/sample.go
-		if gap := s.drawGap(st); gap > 1 { // from the operation before this one
-			st.Arm(gap)
-			return 0
-		}
`},
	{"SampleInSheaf", "FreeRCU puts a sampled object into a sheaf, from which it is allocated again",
		test{pkg: "slub", pattern: `^TestSampledUntilFree$`}, `objects? in use|objects are still in use`, `
slub/rcu.go
-	case c.isAlone(p): // the queue gives it back to its slab
-		if !c.noteGuardedFree(p) {
-			return
-		}
-		if c.sheaves != nil || at == c.localNode() {
-			c.count(FreeRCUSheafFail, 1)
-		}
`},
	{"SampleBulkInSheaf", "FreeBulk puts a sampled object into a sheaf",
		test{pkg: "slub", pattern: `^TestSampledUntilFree$`}, `objects? in use|objects are still in use`, `
slub/cache_bulk.go
-			if free && c.isAlone(p) {
-				c.freeAlone(p, drained)
-				free = false
-			}
`},
	{"LoanSampleInSheaf", "a prefilled sheaf is returned with a sampled object in it",
		test{pkg: "slub", pattern: `^TestProfileOfPrefilled$`}, `in the profile at the end|objects are still in use|panic: `, `
slub/cache_prefill_sample.go
-		if p.cache.isAlone(obj) {
+		if false {
`},
	{"BesideSampledFreed", "the check of a pointer takes the page of a sampled object for a slab full of objects",
		test{pkg: "slub", pattern: `^TestBesideSampled$`}, `mistakes reported: `, `
slub/cache_free.go
-	off, objects := addr-start, c.slabs.ObjectsIn(head)
+	off, objects := addr-start, 4096/c.layout.slot
`},
	{"ClosedPopsByNode", "AllocNode of a closed alias takes objects of the caches that it shared slabs with",
		test{pkg: "slub", pattern: `^TestClosedAliasHasNoNodes$`}, `AllocNode of a closed alias`, `
slub/cache_merge.go
-	c.ops().byNode.SetSlowOnly(c.allocNode)
`},
	{"BulkUncleared", "FreeBulk clears no object that a sheaf may take at once",
		test{pkg: "slub", pattern: `^TestFreedObjectsAreCleared$`}, `holds `, `
slub/cache_bulk.go
-	if c.alwaysInstrumented() {
-		for _, p := range ps[:front] {
-			c.scrub(p)
-		}
-	}
`},
	{"LinksHandedOut", "Malloc with InitOnFree returns objects with the links that their slab has written",
		test{pkg: "slub", pattern: `^TestMallocKeepsZero$`}, `when it is allocated`, `
slub/cache_source.go
-	if s.c.clearsLinks() {
-		s.c.clearLinks(dst[:n])
-	}
`},
	{"FreedByOwnerUncleared", "Free of Buckets with InitOnFree clears nothing that its CPU's sheaf takes",
		test{pkg: "internal/percpu", pattern: `^TestZero$`}, `other bytes were cleared`, `
internal/percpu/zero_linux_amd64.s
-	MOVQ AX, DI
-	MOVQ served_clear(SI), SI
-	ZERO(SI)
`},
	{"LoanTakesUncleared", "a prefilled sheaf takes back an object that it would have to clear",
		test{pkg: "slub", pattern: `^TestPrefilledTakesOnlyCleared$`}, `took an object`, `
slub/cache_build.go
-		c.free.Filter = c.free.RejectAll() // a Prefilled takes no object that would need clearing
`},
	{"LinkCleared", "InitOnFree clears the link of an object that is free in its slab",
		test{pkg: "slub", pattern: `^TestClearingSparesLinks$`}, `got .* after`, `
slub/cache_instrument.go
-	mem.Zero(obj, c.layout.fp)
+	mem.Zero(obj, c.layout.size)
`},
	{"RefusedAskedAgain", "a thread that the kernel has refused to register asks in each operation",
		test{pkg: "internal/percpu", pattern: `^TestRefusedThread$`}, `the kernel was asked again`, `
internal/percpu/rseq_linux.go
-	if cpu := rseqCPU(); cpu != sys.RseqUnregistered || rseqOwner == sys.OwnerLibc {
+	if cpu := rseqCPU(); cpu >= 0 || rseqOwner == sys.OwnerLibc {
`},
	{"GoesOnUnseen", "the self-test of preemption does not look whether a sequence went on",
		test{pkg: "internal/percpu", pattern: `^TestSelfTestPreemption$`}, `a kernel that restarts no sequence: `, `
internal/percpu/selftest_preemption.go
-			err = errGoesOn
+			restarted = true
`},
	{"ReadOnlyWritten", "a sequence writes to a field of struct rseq that belongs to the kernel",
		test{pkg: "internal/percpu", pattern: `^TestReadOnlyFields$`}, `stores to cpu_id_start or cpu_id`, `
internal/percpu/node_linux_amd64.s
 	ARM
 	LOAD_CPU
+	MOVL R10, rseq_cpu(R8)(FS*1)
 	SHLQ $const_rowShift, R10
 	ADDQ PopByNode_slots(DX), R10
`},
	{"ClearedUnclaimed", "a free of a hardened cache clears the object before it has claimed it",
		test{pkg: "internal/percpu", pattern: `^TestMarked$/^rseq$`}, `was not treated as its mark`, `
internal/percpu/marked_linux_amd64.s
-	MOVL $const_MarkFree, R9; \
+	MOVQ R12, R9; \
+	TESTQ SI, SI; \
+	JZ   cleared; \
+	ZERO(SI) \
+	MOVQ R9, R12; \
+	MOVQ AX, DI; \
+	MOVL $const_MarkFree, R9; \
internal/percpu/marked_linux_amd64.s
-	MOVL R10, R13; \
-	TESTQ SI, SI; \
-	JZ   cleared; \
-	ZERO(SI)
+	MOVL R10, R13
`},
	{"ClearedInGoUnclaimed", "a free in Go code clears the object before it has claimed it",
		test{pkg: "slub", pattern: `^TestSecondFreeClearsNothing$`}, `has cleared the object`, `
slub/cache_mark.go
-	if !c.claimKnown(p, slab.Free) {
+	if c.config.Flags&InitOnFree != 0 {
+		c.clearFreed(uintptr(p))
+	}
+	if !c.claimKnown(p, slab.Free) {
`},
}
