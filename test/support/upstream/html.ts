/** A page in place of JSON or an image. */
export const HTML = "<!doctype html><html><body><h1>Welcome</h1></body></html>";
