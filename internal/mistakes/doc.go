// Package mistakes is a list of faults that this module is built to have on
// demand, so that its torture and barrier tests can be shown to notice them. The
// kernel's guide to rcutorture advises its readers to break RCU by hand for the same
// end; here that is kept in working order.
//
// In ordinary builds each mistake is the constant false, and a place that makes it
// on demand compiles to nothing:
//
//	if mistakes.WaitSkipped {
//		return nil
//	}
//
// In builds with -tags mistakes it is a variable, true if the environment variable
// SLUBD_MISTAKE names it. `make mistakes` runs the tests with each mistake in turn
// and demands that they fail; docs/torture.md has the table of what caught which.
//
// A mistake belongs here if somebody might make it in earnest, leaves the code
// around it unchanged, and can be observed on this hardware: no reader of x86 ever
// sees its fences missing for want of a load barrier.
//
// It imports only the standard library; rcu, sheaves and slub import it.
package mistakes
