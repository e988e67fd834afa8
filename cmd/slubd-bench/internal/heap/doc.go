// Package heap measures whole heaps: what a collection costs with millions of
// live objects (gc, gc-linked) or a large map (gc-map) and how many bytes stay resident (resident).
//
// One process holds one population, since heaps would mix otherwise; package
// child runs this code.
package heap
