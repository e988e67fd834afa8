#include "go_asm.h"
#include "textflag.h"
#include "rseq_linux_amd64.h"

// popByNode is the code of a PopByNode, a func(node int) (unsafe.Pointer, error). R13 keeps the
// node for the slow path. DI is the gate of an open stack for the node's objects. What is compared
// in front of the commit is the owner word of the object's page, without its flag.
TEXT ·popByNode(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ AX, R13
	CMPQ AX, PopByNode_n(DX)
	JAE  slow
	SHLQ $const_nodeGateShift, AX
	ADDQ PopByNode_nodes(DX), AX
	MOVQ NodeGate_gate(AX), DI
	MOVQ NodeGate_closed(AX), R11
	CMPQ (R11), $0
	JNE  slow
	XORL BX, BX; XORL CX, CX
	SEQUENCE(·popByNodeCS)
	ARM
	LOAD_CPU
	SHLQ $const_rowShift, R10
	ADDQ PopByNode_slots(DX), R10
	CMPQ DI, Stack_gate(R10)
	JNE  slow
	MOVQ Stack_head(R10), SI
	MOVWLZX SI, R12
	MOVQ Stack_objs(R10), R11
	TESTL R12, R12
	JZ   slow
	MOVQ -PTR(R11)(R12*PTR), AX
	MOVQ AX, R11
	SUBQ PopByNode_base(DX), R11
	SHRQ $const_pageShift, R11
	MOVQ PopByNode_owners(DX), R12
	MOVL (R12)(R11*OWNER), R12
	ANDL $const_withoutFlags, R12
	SHLQ $const_ownShift, R12
	CMPQ R12, DI
	JNE  slow
	ADDQ $const_popOne, SI; JGE slow
	MOVQ SI, Stack_head(R10)
	COMMITTED_RET
slow:
	MOVQ R13, AX
	SLOW_PATH(PopByNode_slow)
	RESTART
