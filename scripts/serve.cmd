@py -3 "%~dp0serve" %*
@exit /b %ERRORLEVEL%
