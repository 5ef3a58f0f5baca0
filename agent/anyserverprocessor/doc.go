// Package anyserverprocessor says of metrics that they are taken when the queue of one server took them.
//
// Without it an application would be told to send again because the queue of one dead server is full, and the servers
// that are alive would get the same samples again and again. What a single queue refused is counted there.
package anyserverprocessor
