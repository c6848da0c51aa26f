-- Only looks.
return { glance(), 0 }
