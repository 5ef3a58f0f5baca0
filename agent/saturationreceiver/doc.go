// Package saturationreceiver reports how full its host is: what a site has left for the load of another one.
package saturationreceiver
