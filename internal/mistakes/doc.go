// Package mistakes shows that tests notice the faults that they are there for, above all the
// torture and barrier tests of rcu, sheaves and slub. It is a test and nothing else: a table of
// mistakes, each a small change to one of the module's files, and the test that must fail with it.
// The kernel's guide to rcutorture advises its readers to break RCU by hand for the same end; here
// that is kept in working order.
//
//	go test ./internal/mistakes                              # the changes fit the code
//	go test -v ./internal/mistakes -mistake FlipForgotten    # one of them is caught
//	make mistakes                                            # all are
//
// The code itself knows nothing of this. A change is written as in a diff, and the lines
// that it expects must be found in their file exactly once: a change to those lines changes the
// table too, or the first command fails. The changed file is given to the go command as an
// overlay (go help build), so that the tree is never touched.
//
// A mistake belongs here if a programmer might really make it, and if it can be observed on this
// hardware: on x86 a missing load barrier in a reader never shows. Where a mistake shows only if
// other goroutines come between two instructions, the change has a pause there.
// docs/testing.md has the list of what caught which, and how soon.
//
// It imports only the standard library; nothing imports it.
package mistakes
