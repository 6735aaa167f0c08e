// How many times longer than on a processor of its own everything takes here; an emulated machine sets PORTOLAN_PATIENCE.
// All waits and deadlines of the lab are multiplied by it.
export const patience = Number(process.env.PORTOLAN_PATIENCE ?? "1");
