#include "go_asm.h"
#include "textflag.h"
#include "rseq_linux_arm64.h"

// popByNode is the code of a PopByNode, a func(node int) (unsafe.Pointer, error). R19 keeps the
// node for the slow path. R14 is the gate of an open stack for the node's objects. What is compared
// in front of the commit is the owner word of the object's page, without its flag.
TEXT ·popByNode(SB), NOSPLIT|NOFRAME, $0-0
	MOVD R0, R19
	MOVD PopByNode_n(R26), R11
	CMP  R11, R0
	BHS  slow
	MOVD PopByNode_nodes(R26), R11
	ADD  R0<<const_nodeGateShift, R11, R11
	MOVD NodeGate_gate(R11), R14
	MOVD NodeGate_closed(R11), R11
	MOVD (R11), R11
	CBNZ R11, slow
	NO_ERROR
	SEQUENCE(·popByNodeCS)
	LOAD_STACK(PopByNode_slots(R26))
	CMP  R14, R11
	BNE  slow
	LOAD_TOP
	MOVD PopByNode_base(R26), R11
	SUB  R11, R0, R11
	LSR  $const_pageShift, R11, R11
	MOVD PopByNode_owners(R26), R12
	MOVWU (R12)(R11<<2), R12
	AND  $const_withoutFlags, R12, R12
	LSL  $const_ownShift, R12, R12
	CMP  R14, R12
	BNE  slow
	ONE_LESS
	MOVD R13, Stack_head(R10)
	COMMITTED_RET
slow:
	MOVD R19, R0
	SLOW_PATH(PopByNode_slow)
	RESTART
