// Package mistakes shows that the torture and barrier tests of rcu, sheaves and slub
// notice the faults that they are there for. It is a test and nothing else: a table of
// mistakes, each a small change to one of the module's files, and the test that must fail
// with it. The kernel's guide to rcutorture advises its readers to break RCU by hand for
// the same end; here that is kept in working order.
//
//	go test ./internal/mistakes                              # the changes fit the code
//	go test -v ./internal/mistakes -mistake FlipForgotten    # one of them is caught
//	make mistakes                                            # all are
//
// The code itself knows nothing of this. A change is written as in a diff, and the lines
// that it expects must be found in their file exactly once: who edits those lines edits the
// table, or the first command fails. The changed file is given to the go command as an
// overlay (go help build), so that the tree is never touched.
//
// A mistake belongs here if somebody might make it in earnest, and it can be observed on
// this hardware: no reader of x86 ever sees its fences missing for want of a load barrier.
// Where it shows only if others come between two instructions, the change has a pause there.
// docs/torture.md has the list of what caught which, and how soon.
//
// It imports only the standard library; nothing imports it.
package mistakes
